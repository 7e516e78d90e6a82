package fuse

import (
	"context"
	"strings"
	"syscall"

	gofuse "github.com/hanwen/go-fuse/v2/fuse"
)

const (
	userXAttrs = "user."       // the one namespace of attributes that there is here
	ownXAttrs  = "user.shoal." // what Config.XAttr answers for begins so
)

// GetXAttr answers for user.shoal.*, and says that no file has any other. The namespaces of ACLs,
// labels and capabilities it says do not exist: `ls -l` asks for them, file by file, until it is
// told so. See docs/xattrs.md.
func (r *raw) GetXAttr(cancel <-chan struct{}, in *gofuse.InHeader, name string, dest []byte) (uint32, gofuse.Status) {
	r.n.xattrs.Add(1)
	if !strings.HasPrefix(name, userXAttrs) {
		return 0, gofuse.Status(syscall.EOPNOTSUPP)
	}
	own, ok := strings.CutPrefix(name, ownXAttrs)
	if !ok {
		return 0, gofuse.ENODATA
	}
	var value string
	err := r.interruptible(cancel, in.Pid, func(ctx context.Context) error {
		e, err := r.names.Attr(ctx, in.NodeId)
		if err == nil {
			value, err = r.cfg.XAttr(ctx, e, own)
		}
		return err
	})
	if err != nil {
		return 0, r.failed(idErrno(err), err, "getxattr", in.NodeId, name)
	}
	if len(value) > len(dest) {
		return uint32(len(value)), gofuse.ERANGE // to who asked for the length, go-fuse tells just that
	}
	return uint32(copy(dest, value)), gofuse.OK
}

// ListXAttr does not exist, so the kernel asks for no list but the first: newer `ls -l` wants one
// of each file, and copying tools would carry what is listed to the copy.
func (r *raw) ListXAttr(<-chan struct{}, *gofuse.InHeader, []byte) (uint32, gofuse.Status) {
	r.n.xattrs.Add(1)
	return 0, gofuse.ENOSYS
}
