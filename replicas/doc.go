// Package replicas knows who holds which block, and who is filling it.
//
// The directory is cut into Shards parts; each has two homes, the two members with the
// highest rendezvous score for it, so every node finds a block's homes by itself (Table).
// A reader asks the home, and by asking says that it intends to fill the block:
//
//  1. The home knows holders: the reader streams from the first of them.
//  2. Somebody has the lease to fill it: the reader streams from there.
//  3. Nobody: the reader gets the lease, fills the block from the UFS, and announces it.
//  4. The home is silent, or has just become the home and cannot tell: the reader asks
//     the backup home, which knows as much. If neither can tell, it asks for the lease
//     all the same, and if no home answers it reads the UFS itself.
//
// Holders tell both homes of a block when they get it and when they drop it, in numbered
// Batches (Announcer, Directory). When membership changes, a home that is new to a shard
// is told what the others hold of that shard, and nothing else is announced again. A home
// that finds that somebody has told it nothing of a shard asks for it, so lost, repeated,
// late and reordered messages only cost time. And as a belief may still be wrong, each
// home asks one member every five minutes to say again what it holds.
//
// Nothing here is needed for a read to succeed: the directory holds hints. A false one
// costs one extra hop and is corrected by the reader that stumbled over it.
//
// All decisions are in Core (Directory and Announcer) and Search, which are pure:
// messages and ticks in, messages out. Runner adds clock, network and goroutines.
//
// Not here yet: keepers and classes of replicas, RESIGN before a last copy goes, digests
// (policy.md §2.5; they will tell what need not be said again), snapshots from home to
// home, and load-aware choice of holders.
package replicas
