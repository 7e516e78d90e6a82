// Package namespace turns paths into file versions: it attaches under file systems
// (UFS) at the paths of a mount table, and keeps what they say of their names.
//
// # What is kept
//
// Everything is in Pebble, in the directory given to Open, and survives the process:
//
//	e<parent id><name>  the name: its id, what the UFS said of it and when
//	i<id>               the id: its directory, its path, and what it stood for
//	d<id>               the directory: when it was last listed completely
//	v<id><name>         names a listing in progress did not see (see listing)
//	c<id><old id><name> changes to tell, when many wait (see changes)
//	m...                counts
//
// An id is a hash of (directory's id, name) for a directory and of (directory's id,
// name, version) for a file, with probing when two collide. So a changed file has a new
// id: the kernel's page cache of an id never mixes two versions, and a file that is open
// keeps its id and its attributes. Ids given out lie from shoal.FirstID to shoal.LastID.
// An id is stored before it is handed out, in a way that a killed process does not lose.
//
// # What is fresh
//
// A name is fresh for its mount's TTL after the UFS confirmed it. A complete listing
// confirms all names of its directory, and for the TTL says of all others that they do
// not exist. A listing that fails half-way adds names, and neither removes any nor says
// that any is missing. "No such file" from a single Stat holds for a shorter time
// (Config.NegativeTTL) and is kept in RAM only. A lookup that finds nothing fresh costs
// one Stat, a ReadDir that finds none costs one listing, however many callers wait for
// it. A listing never stats.
//
// A lookup lists in one case: when the directory had a complete listing, that expired,
// and since then as many Stats of its names were sent as a new listing has pages (names
// in it / 1000, at least 2). Then the directory is listed again, once, and lookups of its
// names wait for that instead of sending Stats: one that is there for its page, one that
// is not for the end. So an epoch over a listed directory of 5,000 files costs 5 Stats and
// 5 pages per TTL, and at most about twice what it would if the future were known. If that
// listing fails, each who waited sends its Stat after all, and the next one is as many
// Stats away. Lookups of names in a directory never listed are single Stats, always.
//
// Sync asks at once, whatever is fresh.
//
// # When the UFS does not answer
//
// Names that were confirmed within the mount's MaxStale are served with Entry.Stale set;
// a name never seen, or not seen for longer, fails with an error that wraps
// ufs.ErrUnavailable and tells mount, path and cause. After such an answer the mount is
// left alone for Config.RetryAfter, then one request at a time probes it.
//
// Who can be served so does not wait for that: neither for the probe of a mount that is
// down, which goes on in the background, nor longer than Config.StaleWait (for an answer,
// or for the next page of a listing) for one that was up. Once someone waited in vain,
// nobody does until the UFS answers anything: the requests are sent, 64 at once, and what
// they bring is recorded. So a UFS that answers late is asked as ever, but what it says
// shows at the next lookup, and the first after an outage is stale still. The exception
// is a name that was expired (Expire): for the UFS's word on that a lookup waits, if the
// UFS may be asked.
//
// # What this package does not do
//
// It reads no file contents, does not speak to peers, and never removes the record of an
// id (i<id>), because a kernel may still hold it: about 200 bytes on disk, before
// compression, for each file version ever seen. Deleting the directory while no agent
// and no mount uses it is safe, and frees them.
package namespace
