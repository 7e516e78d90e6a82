package bound

// FanOut returns the least time in seconds in which n nodes can all have read a file of that
// many bytes from a UFS of bandwidth ufs, if they pass on to one another what they have, and each
// can receive and send nic bytes per second: max(F/R, F/d_min, N F/(R + Σu)) (policy.md §3.7, G12;
// Kumar and Ross, on peer-assisted file distribution). It is the time to fetch it once, the time
// to receive it, and the time in which all that can be sent is what all must receive.
func FanOut(bytes, ufs, nic float64, n int) float64 {
	return max(bytes/ufs, bytes/nic, float64(n)*bytes/(ufs+float64(n)*nic))
}
