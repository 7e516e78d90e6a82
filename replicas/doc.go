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
//     the backup home, which knows as much, but for what is younger than half a second. If neither can tell, it asks for the lease
//     all the same, and if no home answers it reads the UFS itself.
//
// Holders tell both homes of a block when they get it and when they drop it, in numbered
// Batches (Announcer, Directory). When membership changes, a home that is new to a shard
// pulls what is known of it from the other home, or from one that was a home before; then
// each holder confirms by Digest what it holds, and announces only shards that differ. Once
// every five minutes all holders are asked for their digests, so lost, repeated, late and
// reordered messages only cost time, and nothing false is believed for long. A member that
// gossip reports dead is away for a minute first: it keeps its shards and its entries, but
// nobody is sent to it.
//
// Homes spread readers over holders, and name a node for a block whose reader will not
// keep it, by the frontiers that all nodes tell one another.
//
// Nothing here is needed for a read to succeed: the directory holds hints. A false one
// costs one extra hop and is corrected by the reader that stumbled over it.
//
// All decisions are in Core (Directory, Announcer and Standings) and Search, which are pure:
// messages and ticks in, messages out. Runner adds clock, network and goroutines.
//
// # Keepers
//
// A holder that is a keeper may not drop its replica alone, so that two evictions at once
// never lose the last replica of a block (policy.md §2.4). Every replica starts as a
// keeper's. It counts as the last one if the node had the lease to fill it, else as what the
// node took it for when it asked who has the block, which the home does not know: it tells that
// holder what the replica is worth (Change.Filled). Only the home's orders change that:
//
//   - To be keeper, with the class of the replica. The holder takes it on, and says that it
//     has (Obeyed), that it does not have the block (Gone), or that it has gained it since the
//     version the order names, so that another replica was meant (Stale).
//   - To be keeper no more, with the class. The home gives this order only after others, as
//     many as Limits.Min says, have obeyed an order to be keeper; and the order names the
//     version the holder had before these others were asked. A holder that has gained the
//     block, or been told to keep it, since then refuses (Stale). So the holder that was told
//     last to keep a block is its keeper still: whoever relieved it would have told another
//     one later. This holds whatever is lost, late, repeated or overtaken, and when two homes
//     give orders at the same time.
//   - To be keeper no more as nobody else holds the block (class Last). That rests on the
//     home's knowledge, not on versions, so it waits: for members that have not told what
//     they hold, for members just gone, and until the view has been the same for long enough
//     that whoever named another home has found out (Rules.Settle). Here alone is time a
//     premise: views that differ for longer than that, or a member that is silent for longer
//     than Rules.ResignPatience, may cost a last replica.
//
// A version counts what its node has gained and been told to keep. What a holder tells a home
// names the version as of which that home has acknowledged all it was told: an order based on
// it cannot be meant for a replica the home does not know.
//
// A keeper that would drop a block resigns, again and again until it is told that it is
// keeper no more. If all holders resign, one is told to keep the block all the same; its
// resignation goes on, and by then it may be the last one. It is for the block store to
// think again when the block has become worth more (Holdings). Nodes that drain are made
// keepers only of blocks that nobody else holds.
//
// A home that is new to a shard does not know for sure who was told what. When the shard has
// settled it makes keepers of those the snapshot names, and tells all holders anew.
package replicas
