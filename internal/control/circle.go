package control

import (
	"fmt"
	"os"
	"os/user"
	"runtime"
	"slices"
	"strconv"
)

// Circle is who may ask for what tells of others: root, the user that the program runs as, and a group.
type Circle struct {
	names    string // of those who may ask
	hasGroup bool
	gid      uint32
}

// NewCircle returns the circle with a group, given by its name or its number, "" for none.
func NewCircle(group string) (*Circle, error) {
	if runtime.GOOS == "windows" {
		if group != "" {
			return nil, fmt.Errorf("the control socket of Windows cannot be opened to a group such as %s: leave it out", group)
		}
		return &Circle{names: "the user of the program, and administrators"}, nil
	}
	c := &Circle{names: "root"}
	if uid := os.Geteuid(); uid != 0 {
		name := strconv.Itoa(uid)
		if u, err := user.LookupId(name); err == nil {
			name = u.Username
		}
		c.names += ", the user " + name
	}
	if group == "" {
		return c, nil
	}
	number := group
	if g, err := user.LookupGroup(group); err == nil {
		number = g.Gid
	}
	gid, err := strconv.ParseUint(number, 10, 32)
	if err != nil {
		return nil, fmt.Errorf("there is no group %s: make it with 'groupadd --system %[1]s'", group)
	}
	c.names += ", and the group " + group
	c.hasGroup, c.gid = true, uint32(gid)
	return c, nil
}

// has reports whether a caller may ask. Nil is a circle of everybody.
func (c *Circle) has(who caller) bool {
	switch {
	case c == nil:
		return true
	case !who.known:
		return false
	}
	return who.uid == 0 || who.uid == uint32(os.Geteuid()) || c.hasGroup && slices.Contains(who.groups, c.gid)
}
