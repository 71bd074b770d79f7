// Package memory finds out how much memory this process can use.
package memory

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
)

// Available returns the available memory in bytes: what the host has free, or the lowest limit of the process's control groups (v1
// and v2), whichever is less.
func Available() (uint64, error) { return available(os.DirFS("/")) }

func available(root fs.FS) (uint64, error) {
	least, err := free(root)
	if err != nil {
		return 0, err
	}
	groups, err := fs.ReadFile(root, "proc/self/cgroup")
	if err != nil {
		return least, nil // the kernel has no control groups
	}
	for line := range strings.Lines(string(groups)) {
		for _, file := range limitFiles(strings.TrimSpace(line)) {
			if limit, ok := number(root, file); ok {
				least = min(least, limit)
			}
		}
	}
	return least, nil
}

// free returns the memory that programs can get without swapping.
func free(root fs.FS) (uint64, error) {
	info, err := fs.ReadFile(root, "proc/meminfo")
	if err != nil {
		return 0, fmt.Errorf("find out how much memory there is: %w", err)
	}
	for line := range strings.Lines(string(info)) {
		if fields := strings.Fields(line); len(fields) == 3 && fields[0] == "MemAvailable:" { // since Linux 3.14
			kilobytes, err := strconv.ParseUint(fields[1], 10, 54)
			return kilobytes << 10, err
		}
	}
	return 0, errors.New("find out how much memory there is: /proc/meminfo has no MemAvailable")
}

// limitFiles returns the files with the limits of a group, named by a line of /proc/self/cgroup, and of all groups above it. In a
// container the root of the mount may be the container's own group.
func limitFiles(line string) (files []string) {
	fields := strings.SplitN(line, ":", 3) // hierarchy, controllers, path
	if len(fields) < 3 {
		return nil
	}
	var folder string
	var names []string
	switch controllers := strings.Split(fields[1], ","); {
	case fields[0] == "0":
		folder, names = "sys/fs/cgroup", []string{"memory.max", "memory.high"}
	case slices.Contains(controllers, "memory"):
		folder, names = "sys/fs/cgroup/memory", []string{"memory.limit_in_bytes"}
	}
	for group := path.Clean("/" + fields[2]); ; group = path.Dir(group) {
		for _, name := range names {
			files = append(files, path.Join(folder, group, name))
		}
		if group == "/" {
			return files
		}
	}
}

// number reads a number from a file. It returns false when there is no file, or when it holds "max".
func number(root fs.FS, file string) (uint64, bool) {
	b, err := fs.ReadFile(root, file)
	if err != nil {
		return 0, false
	}
	n, err := strconv.ParseUint(strings.TrimSpace(string(b)), 10, 64)
	return n, err == nil
}
