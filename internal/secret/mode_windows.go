package secret

import (
	"io/fs"
	"os"
	"unsafe"

	"golang.org/x/sys/windows"
)

// openToOthers says what gives others than the owner of a file access to it, if anything does, and the command that takes it away.
// On Windows the access list counts, and administrators and the system, who can read everything, do not.
func openToOthers(f *os.File, _ fs.FileInfo) (open, mend string) {
	mend = `icacls "` + f.Name() + `" /inheritance:r /grant:r "%USERNAME%:F"`
	descriptor, err := windows.GetSecurityInfo(windows.Handle(f.Fd()), windows.SE_FILE_OBJECT, windows.DACL_SECURITY_INFORMATION)
	if err != nil {
		return "its access list cannot be read: " + err.Error(), mend
	}
	const access = windows.FILE_READ_DATA | windows.FILE_WRITE_DATA | windows.FILE_APPEND_DATA | windows.WRITE_DAC | windows.WRITE_OWNER |
		windows.GENERIC_READ | windows.GENERIC_WRITE | windows.GENERIC_ALL
	list, _, err := descriptor.DACL()
	if err != nil || list == nil {
		return "it has no access list", mend
	}
	for i := range uint32(list.AceCount) {
		var entry *windows.ACCESS_ALLOWED_ACE
		if err := windows.GetAce(list, i, &entry); err != nil || entry.Header.AceType != windows.ACCESS_ALLOWED_ACE_TYPE || entry.Mask&access == 0 {
			continue
		}
		group := (*windows.SID)(unsafe.Pointer(&entry.SidStart))
		for _, everybody := range []windows.WELL_KNOWN_SID_TYPE{
			windows.WinWorldSid, windows.WinAuthenticatedUserSid, windows.WinBuiltinUsersSid, windows.WinBuiltinGuestsSid, windows.WinInteractiveSid,
		} {
			if group.IsWellKnown(everybody) {
				return "its access list allows " + group.String(), mend
			}
		}
	}
	return "", ""
}
