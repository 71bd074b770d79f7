//go:build !small

package cli

import "net/netip"

// web tries the address and the files of the web page.
func (c *Checkup) web(flags *RunFlags) {
	const subject = "web"
	attempt := flags.WebFlags
	held := flags.Web.IsValid() && c.Running("web")
	if held { // any other port shows whether the files are right
		attempt.Web = WebAddress{netip.AddrPortFrom(flags.Web.Addr(), 0)}
	}
	site, err := attempt.listenWeb(nil, c.Log(subject))
	if site != nil {
		site.Close()
	}
	switch {
	case err == nil && site == nil:
	case held && err == nil:
		c.OK(subject, "The running program serves its web page at %v", flags.Web)
	default:
		c.Must(err, subject, "The address %v of the web page is free", flags.Web)
	}
}
