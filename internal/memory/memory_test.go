package memory

import (
	"testing"
	"testing/fstest"
)

func TestAvailable(t *testing.T) {
	const meminfo = "MemTotal:       24683600 kB\nMemFree:         9000000 kB\nMemAvailable:   20000000 kB\n"
	const free, m64 = 20000000 << 10, 64 << 20
	for name, tt := range map[string]struct {
		files map[string]string
		want  uint64
	}{
		"no control groups": {map[string]string{}, free},
		"v2": {map[string]string{
			"proc/self/cgroup": "0::/system.slice/relay.service\n", "sys/fs/cgroup/system.slice/relay.service/memory.max": "67108864\n",
		}, m64},
		"v2, of the slice": {map[string]string{
			"proc/self/cgroup": "0::/system.slice/relay.service\n", "sys/fs/cgroup/system.slice/relay.service/memory.max": "max\n",
			"sys/fs/cgroup/system.slice/memory.high": "67108864\n",
		}, m64},
		"v2, in a container": {map[string]string{
			"proc/self/cgroup": "0::/../../docker/1\n", "sys/fs/cgroup/memory.max": "67108864\n",
		}, m64},
		"v1": {map[string]string{
			"proc/self/cgroup": "5:cpu,memory:/relay\n4:pids:/\n0::/\n",
			"sys/fs/cgroup/memory/relay/memory.limit_in_bytes": "67108864\n", "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
		}, m64},
		"v1 without a limit": {map[string]string{
			"proc/self/cgroup": "4:memory:/\n", "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
		}, free},
		"a colon in the name": {map[string]string{
			"proc/self/cgroup": "0::/a:b\n", "sys/fs/cgroup/a:b/memory.max": "67108864\n",
		}, m64},
	} {
		root := fstest.MapFS{"proc/meminfo": {Data: []byte(meminfo)}}
		for file, content := range tt.files {
			root[file] = &fstest.MapFile{Data: []byte(content)}
		}
		if got, err := available(root); got != tt.want || err != nil {
			t.Errorf("%s: %d, %v; want %d", name, got, err, tt.want)
		}
	}
	if n, err := available(fstest.MapFS{}); err == nil {
		t.Errorf("without /proc: %d", n)
	}
}
