// Package bound computes what caches can do at best and what simple policies do, in closed form:
// the formulas of policy.md §3. A simulation is checked against them, and its report says how
// far from them a run was.
//
// Shares of reads are from 0 to 1. In what follows a dataset has d blocks of one size, a cache
// holds c of them, k = kappa = c/d, n is a number of nodes or ranks, and K = n c/d is what all
// caches hold together. Arguments may be out of range where that has a meaning (k above 1 is a
// cache larger than the dataset).
//
// The package holds arithmetic only. It knows neither scenarios nor results.
package bound
