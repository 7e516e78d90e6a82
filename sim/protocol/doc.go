// Package protocol tries the mesh's protocol on random histories: a Mesh of replicas.Core,
// the very code a node runs, under a scheduler that delivers messages late, twice, out of
// order or not at all, lets nodes crash, return, join, drain and lose sight of one another,
// and lets readers read the way package node does: look up, stream, fill, announce. Stores of
// little room evict at random, keepers by resigning; that no last replica is lost to a race of
// two evictions is checked at every step. A seed fixes every choice, so a run can be repeated
// byte for byte (Config.Transcript).
//
// It predicts nothing: bandwidth is not modelled, and no policy evicts. That is for the
// engines of package sim, which take the protocol for granted and are much faster.
package protocol
