package bound

import "math"

// ClusterLRUOblivious returns the share of reads that some cache of the cluster can serve, when n
// ranks share each epoch at random and each node's LRU cache keeps what it reads, whoever else
// has it (policy.md §3.4). K is what all caches hold, in datasets.
//
// A copy lives T = ln(1-K/n)/ln(1-1/n) epochs, and the time between two reads of a block has a
// triangular distribution on [0, 2] epochs. With few nodes it is a little low, as their copies
// do not live equally long.
func ClusterLRUOblivious(K float64, n int) float64 {
	switch {
	case K <= 0:
		return 0
	case K >= float64(n):
		return 1
	}
	life := K
	if n > 1 {
		life = math.Log1p(-K/float64(n)) / math.Log1p(-1/float64(n))
	}
	switch {
	case life >= 2:
		return 1
	case life > 1:
		return 1 - (2-life)*(2-life)/2
	}
	return life * life / 2
}

// UnionCoverage returns the share of a dataset that is in one of m caches at least, when each
// holds the share kappa of it, chosen independently of the others (policy.md §3.4).
func UnionCoverage(kappa float64, m int) float64 {
	return -math.Expm1(float64(m) * math.Log1p(-Uniform(kappa)))
}

// SingleCopy returns the share of a dataset that n caches hold, each as much as the share kappa
// of it, when none holds what another one does: min(1, n kappa). No cluster has more hits,
// local ones and those at peers together, in shuffled epochs (policy.md §3.1, §3.4).
func SingleCopy(kappa float64, n int) float64 {
	return Uniform(float64(n) * kappa)
}

// JobsUniformOblivious returns the share of reads that go to the UFS when n jobs, each on a node
// of its own, read one dataset in epochs, and each node keeps what it got first, whoever else has
// it: (1-kappa)^n (policy.md §3.4).
func JobsUniformOblivious(kappa float64, n int) float64 {
	return 1 - UnionCoverage(kappa, n)
}

// JobsLRUOblivious returns the same for nodes with LRU caches, about
// (1-LRUEpoch(kappa)) (1-kappa)^(n-1) (policy.md §3.4).
func JobsLRUOblivious(kappa float64, n int) float64 {
	return (1 - LRUEpoch(kappa)) * (1 - UnionCoverage(kappa, n-1))
}

// RandomReadsOblivious returns the mean cost of a read when n nodes read a dataset at random,
// each with a cache of the share kappa of it that keeps what it reads whoever else has it: a
// local read costs 0, one from a peer 1 and one from the UFS the given number. (policy.md §3.5;
// the scenario of Alluxio's pull request 16357 has n = 5 and a cost of 10.)
func RandomReadsOblivious(kappa float64, n int, ufs float64) float64 {
	nowhere := 1 - UnionCoverage(kappa, n)
	return nowhere*ufs + 1 - Uniform(kappa) - nowhere
}

// RandomReadsSingleCopy returns the same when the caches hold no block twice unless they have
// room for all: max(0, 1-n kappa) of the reads go to the UFS (policy.md §3.5).
func RandomReadsSingleCopy(kappa float64, n int, ufs float64) float64 {
	held := SingleCopy(kappa, n)
	return (1-held)*ufs + held - Uniform(kappa)
}
