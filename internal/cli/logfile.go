package cli

import (
	"os"
	"sync"
)

// largestLog bounds a log file, in bytes. One with older lines beside it is as large.
const largestLog = 1 << 20

// logFile is a file that a log is written to. When it is full, its content moves to a file that ends in .1. The file itself stays,
// so that others can go on to write to it, or to read it.
type logFile struct {
	mu   sync.Mutex
	file *os.File
	most int64
}

func openLogFile(path string) (*logFile, error) {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	return &logFile{file: file, most: largestLog}, nil
}

// Write writes a line.
func (l *logFile) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	info, err := l.file.Stat()
	if err == nil && info.Size() > 0 && info.Size()+int64(len(line)) > l.most {
		err = l.makeRoom(info.Size())
	}
	if err != nil {
		return 0, err
	}
	return l.file.Write(line)
}

// makeRoom empties the file also when its content cannot be kept: the log goes on.
func (l *logFile) makeRoom(size int64) error {
	content := make([]byte, min(size, 2*l.most))
	if n, err := l.file.ReadAt(content, size-int64(len(content))); err == nil {
		_ = os.WriteFile(l.file.Name()+".1", content[:n], 0o600)
	}
	return l.file.Truncate(0)
}
