package bound

import "testing"

func TestClusterLRUOblivious(t *testing.T) {
	tests := []struct {
		K    float64
		n    int
		want float64
	}{
		{0.1, 8, 0.00443690819721},
		{0.5, 8, 0.116799576144}, // this one and the next three are in policy.md §3.4
		{1, 8, 0.5},
		{1.5, 8, 0.900980998912},
		{2, 8, 1},
		{0.3, 2, 0.0274869775815},
		{0.9, 2, 0.371950085772},
		{1.2, 3, 0.726089732278},
		{0.5, 32, 0.12302366387},
		{1, 32, 0.5},
		{1.9, 64, 0.996273215477},
		{1.3, 1000, 0.755136622155},
		{0.7, 1, 0.245},
		{5, 4, 1},
		{0, 8, 0},
		{-1, 8, 0},
	}
	for _, tt := range tests {
		if got := ClusterLRUOblivious(tt.K, tt.n); !near(got, tt.want, 1e-11) {
			t.Errorf("ClusterLRUOblivious(%v, %d) = %v, want %v", tt.K, tt.n, got, tt.want)
		}
	}
}

func TestUnionCoverage(t *testing.T) {
	tests := []struct {
		kappa float64
		m     int
		want  float64
	}{
		{0.1, 1, 0.1},
		{0.1, 2, 0.19},
		{0.1, 10, 0.6513215599},
		{0.25, 4, 0.68359375},
		{0.375, 4, 0.847412109375},
		{0.5, 3, 0.875},
		{0.01, 100, 0.633967658727},
		{0.001, 1000, 0.632304575229},
		{0.9, 2, 0.99},
		{0.33, 7, 0.939392883947},
		{0.05, 16, 0.559873331348},
		{0, 5, 0},
		{1, 5, 1},
		{2, 1, 1},
	}
	for _, tt := range tests {
		if got := UnionCoverage(tt.kappa, tt.m); !near(got, tt.want, 1e-11) {
			t.Errorf("UnionCoverage(%v, %d) = %v, want %v", tt.kappa, tt.m, got, tt.want)
		}
	}
}

func TestJobs(t *testing.T) {
	tests := []struct {
		kappa                float64
		n                    int
		uniform, lru, single float64 // shares of reads that go to the UFS
	}{
		{0.125, 4, 0.586181640625, 0.664455291429, 0.5},
		{0.25, 4, 0.31640625, 0.407430655737, 0}, // policy.md §3.7, G6
		{0.375, 4, 0.152587890625, 0.224304752998, 0},
		{0.1, 2, 0.81, 0.895342017683, 0.8},
		{0.2, 3, 0.512, 0.626249498273, 0.4},
		{0.05, 8, 0.663420431289, 0.697449450774, 0.6},
		{0.01, 16, 0.851457771095, 0.860015207659, 0.84},
		{0.3, 3, 0.343, 0.465339505771, 0.1},
		{0.6, 2, 0.16, 0.3066065171, 0},
		{0.02, 32, 0.523883140335, 0.534466998088, 0.36},
		{0.15, 6, 0.377149515625, 0.438443451165, 0.1},
		{0.45, 5, 0.0503284375, 0.0804166396277, 0},
		{0.08, 12, 0.367666387655, 0.39832300261, 0.04},
	}
	for _, tt := range tests {
		if got := JobsUniformOblivious(tt.kappa, tt.n); !near(got, tt.uniform, 1e-11) {
			t.Errorf("JobsUniformOblivious(%v, %d) = %v, want %v", tt.kappa, tt.n, got, tt.uniform)
		}
		if got := JobsLRUOblivious(tt.kappa, tt.n); !near(got, tt.lru, 1e-11) {
			t.Errorf("JobsLRUOblivious(%v, %d) = %v, want %v", tt.kappa, tt.n, got, tt.lru)
		}
		if got := 1 - SingleCopy(tt.kappa, tt.n); !near(got, tt.single, 1e-11) {
			t.Errorf("1 - SingleCopy(%v, %d) = %v, want %v", tt.kappa, tt.n, got, tt.single)
		}
	}
}

func TestRandomReads(t *testing.T) {
	tests := []struct {
		kappa             float64
		n                 int
		ufs               float64
		oblivious, single float64
	}{
		{0.1, 5, 10, 6.21441, 5.4}, // Alluxio's scenario with 50 slots, and with 100
		{0.2, 5, 10, 3.74912, 0.8},
		{0.05, 5, 10, 7.9140284375, 7.7},
		{0.3, 5, 10, 2.21263, 0.7},
		{0.1, 2, 5, 4.14, 4.1},
		{0.25, 4, 20, 6.76171875, 0.75},
		{0.02, 10, 10, 8.33365526199, 8.18},
		{0.4, 3, 3, 1.032, 0.6},
		{0.15, 8, 10, 3.30241472535, 0.85},
		{0.6, 2, 10, 1.84, 0.4},
		{0.01, 50, 30, 18.535175947, 15.49},
		{0.33, 6, 8, 1.30320867518, 0.67},
		{1, 5, 10, 0, 0},
	}
	for _, tt := range tests {
		if got := RandomReadsOblivious(tt.kappa, tt.n, tt.ufs); !near(got, tt.oblivious, 1e-11) {
			t.Errorf("RandomReadsOblivious(%v, %d, %v) = %v, want %v", tt.kappa, tt.n, tt.ufs, got, tt.oblivious)
		}
		if got := RandomReadsSingleCopy(tt.kappa, tt.n, tt.ufs); !near(got, tt.single, 1e-11) {
			t.Errorf("RandomReadsSingleCopy(%v, %d, %v) = %v, want %v", tt.kappa, tt.n, tt.ufs, got, tt.single)
		}
	}
	for _, tt := range []struct{ kappa, ratio float64 }{{0.1, 0.869}, {0.2, 0.213}} { // policy.md §1.2
		got := RandomReadsSingleCopy(tt.kappa, 5, 10) / RandomReadsOblivious(tt.kappa, 5, 10)
		if !near(got, tt.ratio, 5e-4) {
			t.Errorf("kappa %v: single copy costs %v of oblivious, want %v", tt.kappa, got, tt.ratio)
		}
	}
}

// More cache is never worse, copies that others have too are never better, and nothing leaves
// the range of a share.
func TestClusterOrder(t *testing.T) {
	for _, n := range []int{1, 2, 3, 8, 100} {
		cluster, union := 0.0, 0.0
		for k := 0.002; k < 1.2; k += 0.002 {
			c, u := ClusterLRUOblivious(k*float64(n), n), UnionCoverage(k, n)
			if c < cluster || u < union || c > 1 || u > 1 {
				t.Fatalf("n = %d, kappa = %v: cluster %v after %v, union %v after %v", n, k, c, cluster, u, union)
			}
			if single := SingleCopy(k, n); c > single+1e-9 || u > single+1e-9 {
				t.Fatalf("n = %d, kappa = %v: cluster %v, union %v beyond single copy %v", n, k, c, u, single)
			}
			if l, f := JobsLRUOblivious(k, n), JobsUniformOblivious(k, n); l < f-1e-9 || l > 1 {
				t.Fatalf("n = %d, kappa = %v: LRU reads %v of the UFS, uniform %v", n, k, l, f)
			}
			if o, s := RandomReadsOblivious(k, n, 10), RandomReadsSingleCopy(k, n, 10); s > o+1e-9 || s < 0 {
				t.Fatalf("n = %d, kappa = %v: single copy costs %v, oblivious %v", n, k, s, o)
			}
			cluster, union = c, u
		}
	}
}
