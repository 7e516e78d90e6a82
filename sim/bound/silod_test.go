package bound

import "testing"

func TestSiloD(t *testing.T) {
	tests := []struct{ rate, io, c, size, want float64 }{
		{1000, 200, 75, 100, 800}, // policy.md §3.7, G8
		{1000, 200, 0, 100, 200},
		{1000, 200, 100, 100, 1000},
		{1000, 200, 150, 100, 1000},
		{500, 400, 20, 1000, 408.163265306},
		{500, 490, 20, 1000, 500},
		{800, 10, 99, 100, 800},
		{800, 0, 50, 100, 0},
		{120, 60, 1, 3, 90},
		{333, 100, 10, 40, 133.333333333},
		{2000, 750, 640, 1000, 2000},
		{50, 100, 0, 10, 50},
	}
	for _, tt := range tests {
		if got := (Job{tt.rate, tt.size}).SiloD(tt.io, tt.c); !near(got, tt.want, 1e-11) {
			t.Errorf("Job{%v, %v}.SiloD(%v, %v) = %v, want %v", tt.rate, tt.size, tt.io, tt.c, got, tt.want)
		}
	}
}

func TestSiloDAllocation(t *testing.T) {
	tests := []struct {
		jobs             []Job
		cache, io        float64
		got, need, share []float64
		phi              float64
	}{
		{[]Job{{1000, 100}, {500, 1000}}, 300, 400, []float64{100, 200}, []float64{0, 400}, []float64{0, 400}, 1}, // G11
		{[]Job{{1000, 100}, {500, 1000}}, 300, 200, []float64{100, 200}, []float64{0, 400}, []float64{0, 200}, 0.5},
		{[]Job{{484, 311}}, 52, 370, []float64{52}, []float64{403.073955}, []float64{370}, 0.9179456907},
		{[]Job{{812, 491}, {318, 93}}, 68, 41, []float64{0, 68}, []float64{812, 85.48387097}, []float64{20.5, 20.5}, 0.04568327223},
		{[]Job{{823, 563}, {1880, 297}, {1640, 784}}, 120, 1819, []float64{0, 120, 0}, []float64{823, 1120.40404, 1640}, []float64{606.3333333, 606.3333333, 606.3333333}, 0.5076178906},
		{[]Job{{1066, 550}, {738, 284}, {1597, 177}, {1694, 109}}, 536, 1757, []float64{0, 250, 177, 109}, []float64{1066, 88.35211268, 0, 0}, []float64{1066, 88.35211268, 0, 0}, 1},
		{[]Job{{1932, 950}, {53, 849}, {1313, 827}, {534, 820}, {557, 199}}, 675, 2539, []float64{476, 0, 0, 0, 199}, []float64{963.9663158, 53, 1313, 534, 0}, []float64{963.9663158, 53, 988.0336842, 534, 0}, 0.8865327731},
		{[]Job{{594, 643}}, 381, 89, []float64{381}, []float64{242.0342146}, []float64{89}, 0.3677166063},
		{[]Job{{1731, 621}, {692, 688}}, 794, 2073, []float64{621, 173}, []float64{0, 517.994186}, []float64{0, 517.994186}, 1},
		{[]Job{{510, 183}, {507, 485}, {574, 92}}, 560, 615, []float64{183, 285, 92}, []float64{0, 209.0721649, 0}, []float64{0, 209.0721649, 0}, 1},
		{[]Job{{15, 931}, {598, 587}, {1444, 904}, {639, 869}}, 3134, 2083, []float64{774, 587, 904, 869}, []float64{2.529538131, 0, 0, 0}, []float64{2.529538131, 0, 0, 0}, 1},
		{[]Job{{400, 424}, {868, 614}, {591, 442}, {925, 166}, {478, 313}}, 531, 178, []float64{0, 52, 0, 166, 313}, []float64{400, 794.4885993, 591, 0, 0}, []float64{59.33333333, 59.33333333, 59.33333333, 0, 0}, 0.09969259959},
		{[]Job{{167, 48}}, 29, 161, []float64{29}, []float64{66.10416667}, []float64{66.10416667}, 1},
		{[]Job{{575, 532}, {1095, 664}}, 965, 1436, []float64{301, 664}, []float64{249.6710526, 0}, []float64{249.6710526, 0}, 1},
	}
	for _, tt := range tests {
		got := SiloDGreedy(tt.jobs, tt.cache)
		need := IODemand(tt.jobs, got)
		share := MaxMin(need, tt.io)
		for i := range tt.jobs {
			if !near(got[i], tt.got[i], 1e-9) {
				t.Errorf("SiloDGreedy(%v, %v) = %v, want %v", tt.jobs, tt.cache, got, tt.got)
			}
			if !near(need[i], tt.need[i], 1e-9) {
				t.Errorf("IODemand(%v, %v) = %v, want %v", tt.jobs, got, need, tt.need)
			}
			if !near(share[i], tt.share[i], 1e-9) {
				t.Errorf("MaxMin(%v, %v) = %v, want %v", need, tt.io, share, tt.share)
			}
		}
		if phi := SiloDMaxMinPerf(tt.jobs, tt.cache, tt.io); !near(phi, tt.phi, 1e-9) {
			t.Errorf("SiloDMaxMinPerf(%v, %v, %v) = %v, want %v", tt.jobs, tt.cache, tt.io, phi, tt.phi)
		}
	}
}

// G9 of policy.md §3.7: the sum of throughputs with three divisions of the cache.
func TestSiloDThroughput(t *testing.T) {
	jobs := []Job{{1000, 100}, {500, 1000}}
	tests := []struct {
		name   string
		cached []float64
		want   float64
	}{
		{"greedy", SiloDGreedy(jobs, 300), 1500},
		{"equal", []float64{100, 150}, 25000.0 / 17},
		{"proportional", []float64{300.0 / 11, 3000.0 / 11}, 550},
	}
	for _, tt := range tests {
		sum := 0.0
		for i, io := range MaxMin(IODemand(jobs, tt.cached), 400) {
			sum += jobs[i].SiloD(io, tt.cached[i])
		}
		if !near(sum, tt.want, 1e-12) {
			t.Errorf("%s: %v, want %v", tt.name, sum, tt.want)
		}
	}
}
