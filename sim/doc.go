// Package sim predicts what a fleet's cache will do: where reads are served from, what that
// costs the UFS, how long jobs wait, and what happens when nodes fail, before anything is
// changed in production.
//
// There are two engines (policy.md §4.1). The one called "reads" lets no read take time, and
// tells hit ratios of many millions of reads per second. The one called "time" has transfers
// share links, and tells how long everything takes. Both stand on package fleet, which decides
// by the agents' own code; package workload makes the reads, package scenario reads the file
// that says what to simulate, and package result holds what was found.
//
// A run is one goroutine, and the same scenario and seed give the same result, byte for byte.
package sim
