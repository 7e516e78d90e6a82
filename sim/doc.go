// Package sim is the simulated mesh: the decisions of the real one without its disks,
// wires and clocks, at many times its speed, and the same again for the same seed.
//
// What there is now is the first piece: a Mesh of replicas.Core, the very code a node
// runs, under a scheduler that delivers messages late, twice, out of order or not at
// all, lets nodes crash, return, join, drain and lose sight of one another, and lets
// readers read the way package node does: look up, stream, fill, announce. Stores of little
// room evict at random, keepers by resigning; that no last replica is lost to a race of two
// evictions is checked at every step. A seed fixes every choice, so a run can be repeated
// byte for byte (Config.Transcript).
//
// It imports the root package and the pure half of replicas only. If it needs a decision
// of another package, that decision is moved down into a pure file; it is never written
// twice.
//
// Not here yet: the engines that predict hit ratios (reference-driven) and times
// (discrete-event), scenarios, traces, reports, and eviction by policy: blocks are
// evicted at random. Time passes for messages and fills, but bandwidth is not modelled,
// and nothing here says how fast a mesh is.
package sim
