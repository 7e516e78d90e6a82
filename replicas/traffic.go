package replicas

import "sync/atomic"

// Traffic is what a Runner has sent to other nodes in messages of one type, answers
// included.
type Traffic struct {
	Type            string
	Messages, Bytes int64
}

// traffic counts messages and their bytes by type.
type traffic struct {
	types [MsgMet + 1]struct{ messages, bytes atomic.Int64 }
}

func (t *traffic) sent(m MessageType, bytes int) {
	t.types[m].messages.Add(1)
	t.types[m].bytes.Add(int64(bytes))
}

// all returns the Traffic of every type there is.
func (t *traffic) all() []Traffic {
	var all []Traffic
	for i := range t.types {
		if word := MessageType(i).String(); word != MessageType(0).String() {
			all = append(all, Traffic{word, t.types[i].messages.Load(), t.types[i].bytes.Load()})
		}
	}
	return all
}
