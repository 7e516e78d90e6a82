package trace

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/shoal-mesh/shoal"
	live "github.com/shoal-mesh/shoal/node/trace"
)

func TestParseColumns(t *testing.T) {
	tests := []struct {
		text string
		want Columns
		err  string // part of it
	}{
		{"", Columns{}, ""},
		{"time-col=1,obj-id-col=2,obj-size-col=3,delimiter=,;has-header=true", Columns{Time: 1, ID: 2, Size: 3, Delimiter: ',', Header: true}, ""},
		{"time-col=2, obj-id-col=5, obj-size-col=4, delimiter=;, has-header=false", Columns{Time: 2, ID: 5, Size: 4, Delimiter: ';'}, ""},
		{"delimiter=,,time_col=2;obj_id_col=3", Columns{Time: 2, ID: 3, Delimiter: ','}, ""},
		{`delimiter=\t`, Columns{Delimiter: '\t'}, ""},
		{"delimiter=\t,has-header=1", Columns{Delimiter: '\t', Header: true}, ""},
		{"delimiter= ", Columns{Delimiter: ' '}, ""},
		{"delimiter=|;time-unit=ms", Columns{Delimiter: '|', Unit: time.Millisecond}, ""},
		{"time-col=1,obj-id-col=2,node-col=3,dataset-col=4,op-col=5,time-unit=us", Columns{Time: 1, ID: 2, Node: 3, Dataset: 4, Op: 5, Unit: time.Microsecond}, ""},
		{"time-col=1", Columns{}, "time-col and obj-id-col are required"},
		{"obj-id-col=1", Columns{}, "time-col and obj-id-col are required"},
		{"time-col", Columns{}, `"time-col" is no key=value`},
		{"time-col=0,obj-id-col=2", Columns{}, "time-col=0: want a column"},
		{"time-col=x,obj-id-col=2", Columns{}, "time-col=x: want a column"},
		{"time-col=1,obj-id-col=1001", Columns{}, "column 1001 is not 1 to 1000"},
		{"obj-col=2", Columns{}, `no key "obj-col": there are time-col`},
		{"delimiter=", Columns{}, "delimiter=: want one character"},
		{"delimiter=ab", Columns{}, "delimiter=ab: want one character"},
		{"delimiter=7", Columns{}, "cannot be one"},
		{`delimiter="`, Columns{}, "cannot be one"},
		{"has-header=maybe", Columns{}, "has-header=maybe: want true or false"},
		{"time-unit=m", Columns{}, "time-unit of 1m0s is not"},
		{"time-unit=0s", Columns{}, "time-unit of 10s is not"},
		{"time-unit=", Columns{}, "time-unit=: want"},
	}
	for _, tt := range tests {
		got, err := ParseColumns(tt.text)
		if got != tt.want || (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
			t.Errorf("ParseColumns(%q) = %+v, %v, want %+v, %q", tt.text, got, err, tt.want, tt.err)
		}
	}
}

// TestCSV reads one line or a few by different columns.
func TestCSV(t *testing.T) {
	tests := []struct {
		name    string
		columns string
		text    string
		want    []Record
		err     string // part of it
	}{
		{"default", "", "5,17,4096\n7,18,1\n", []Record{{Block: 17, Size: 4096}, {Time: 2e6, Block: 18, Size: 1}}, ""},
		{"no newline at the end", "", "5,17,4096\n7,18,1", []Record{{Block: 17, Size: 4096}, {Time: 2e6, Block: 18, Size: 1}}, ""},
		{"lines of Windows, blank ones, and blanks", "", "5,17,4096\r\n\r\n 7 , 18 ,1 \r\n  \n", []Record{{Block: 17, Size: 4096}, {Time: 2e6, Block: 18, Size: 1}}, ""},
		{"mark of UTF-8", "", "\xef\xbb\xbf5,17,4096\n", []Record{{Block: 17, Size: 4096}}, ""},
		{"titles", "has-header=true", "time,id,size\n5,17,4096\n", []Record{{Block: 17, Size: 4096}}, ""},
		{"other order", "time-col=4,obj-id-col=2,obj-size-col=3", "x,17,4096,5,y\n", []Record{{Block: 17, Size: 4096}}, ""},
		{"no size", "time-col=1,obj-id-col=2", "5,17\n", []Record{{Block: 17, Size: shoal.BlockSize}}, ""},
		{"tabs", `delimiter=\t`, "5\t17\t4096\n", []Record{{Block: 17, Size: 4096}}, ""},
		{"blanks", "delimiter= ", "5 17 4096\n", []Record{{Block: 17, Size: 4096}}, ""},
		{"fractions", "", "1.5,1,1\n1.5000019,1,1\n2,1,1\n2.25,1,1\n", []Record{{Block: 1, Size: 1}, {Time: 1, Block: 1, Size: 1}, {Time: 500_000, Block: 1, Size: 1}, {Time: 750_000, Block: 1, Size: 1}}, ""},
		{"milliseconds", "time-unit=ms", "1,1,1\n2.75,1,1\n", []Record{{Block: 1, Size: 1}, {Time: 1750, Block: 1, Size: 1}}, ""},
		{"microseconds", "time-unit=us", "1,1,1\n2.75,1,1\n", []Record{{Block: 1, Size: 1}, {Time: 1, Block: 1, Size: 1}}, ""},
		{"nanoseconds", "time-unit=ns", "1000,1,1\n2999,1,1\n", []Record{{Block: 1, Size: 1}, {Time: 1, Block: 1, Size: 1}}, ""},
		{"largest id", "", "1,18446744073709551615,1\n", []Record{{Block: math.MaxUint64, Size: 1}}, ""},
		{"hashed ids", "", "1,18446744073709551616,1\n1,a,1\n1,-1,1\n", []Record{{Block: parseID([]byte("18446744073709551616")), Size: 1}, {Block: 0x82a2a958a9bece5b, Size: 1}, {Block: parseID([]byte("-1")), Size: 1}}, ""},
		{"quotes", "", `1,"17",4096` + "\n" + `1, "a,""b""" ,1` + "\n", []Record{{Block: 17, Size: 4096}, {Block: parseID([]byte(`a,"b"`)), Size: 1}}, ""},
		{"nodes and datasets", "time-col=1,obj-id-col=2,node-col=3,dataset-col=4", "1,1,a,x\n1,2,b,x\n1,3,a,y\n", []Record{
			{Block: 1, Size: shoal.BlockSize}, {Block: 2, Size: shoal.BlockSize, Node: 1}, {Block: 3, Size: shoal.BlockSize, Dataset: 1},
		}, ""},
		{"operations", "time-col=1,obj-id-col=2,op-col=3", "5,9,delete\n6,1,GET\n7,2,put\n8,3,D\n9,4,r\n", []Record{
			{Block: 1, Size: shoal.BlockSize}, {Time: 1e6, Block: 2, Size: shoal.BlockSize, Op: live.Write}, {Time: 3e6, Block: 4, Size: shoal.BlockSize},
		}, ""},
		{"no bytes", "", "1,1,0\n2,2,2\n", []Record{{Time: 1e6, Block: 2, Size: 2}}, ""},
		{"a little back in time", "", "5,1,1\n4,2,1\n6,3,1\n", []Record{{Block: 1, Size: 1}, {Block: 2, Size: 1}, {Time: 1e6, Block: 3, Size: 1}}, ""},
		{"too many bytes for a record", "", "1,1,4294967296\n", []Record{{Block: 1, Size: math.MaxUint32}}, ""},

		{"too many bytes", "", "1,1,1099511627777\n", nil, "offset 0, record 0: line 1: trace is damaged: a size of 1099511627777 bytes"},
		{"far back in time", "", "100000,1,1\n13599,2,1\n", []Record{{Block: 1, Size: 1}}, "offset 11, record 1: line 2: trace is damaged: time goes back by 86401 s"},
		{"far back by and by", "", "200000,1,1\n150000,2,1\n113599,3,1\n", []Record{{Block: 1, Size: 1}, {Block: 2, Size: 1}}, "record 2: line 3: trace is damaged: time goes back by 86401 s"},
		{"titles unknown", "", "time,id,size\n5,17,4096\n", nil, `offset 0, record 0: line 1: trace is damaged: column 1, the time: "time" is no number, or too large (if that is a line of titles: has-header=true)`},
		{"few columns", "", "1,1,1\n1,1\n", []Record{{Block: 1, Size: 1}}, "offset 6, record 1: line 2: trace is damaged: it has 2 columns, not 3"},
		{"no size after all", "", "1,1,\n", nil, `column 3, the size: "" is no number`},
		{"negative size", "", "1,1,-5\n", nil, `column 3, the size: "-5" is no number`},
		{"huge time", "", "4611686018428,1,1\n", nil, "column 1, the time"},
		{"hexadecimal time", "", "1e9,1,1\n", nil, "column 1, the time"},
		{"fraction of letters", "", "1.x,1,1\n", nil, "column 1, the time"},
		{"unknown operation", "time-col=1,obj-id-col=2,op-col=3", "1,1,evaporate\n", nil, `column 3: no operation "evaporate" is known`},
		{"node without name", "time-col=1,obj-id-col=2,node-col=3", "1,1,\n", nil, `column 3, the node: trace is damaged: name "" has 0 bytes`},
		{"quote left open", "", `1,"17,4096` + "\n", nil, "a quote is not closed on its line"},
		{"quote and more", "", `1,"1"7,4096` + "\n", nil, `"7,4096" stands between a quote and the delimiter`},
		{"long line", "", "1,1,1\n1," + strings.Repeat("x", lineLen) + ",1\n", []Record{{Block: 1, Size: 1}}, "offset 6, record 1: line 2: trace is damaged: a line is longer than 65536 bytes"},
		{"only deletions", "time-col=1,obj-id-col=2,op-col=3", "1,1,delete\n", nil, "all its requests are of no bytes, or deletions"},
	}
	for _, tt := range tests {
		c, err := ParseColumns(tt.columns)
		if err != nil {
			t.Fatalf("%s: %v", tt.name, err)
		}
		for i := range tt.want {
			tt.want[i].Bytes = tt.want[i].Size
		}
		got, _, err := decode([]byte(tt.text), CSV, Options{Columns: c}, 2)
		equal(t, tt.name, got, tt.want)
		if (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.err)
		}
	}
}

func TestCSVNames(t *testing.T) {
	c := Columns{Time: 1, ID: 2, Node: 3, Dataset: 4, Op: 5}
	_, about, err := decode([]byte("1,1,a,x,get\n2,2,b,\"y \",del\n3,3,b,z,set\n"), CSV, Options{Columns: c}, 10)
	if err != nil || !slices.Equal(about.Nodes, []string{"a", "b"}) || !slices.Equal(about.Datasets, []string{"x", "z"}) || about.Skipped != 1 {
		t.Errorf("%+v, %v, want nodes a and b, datasets x and z, one skipped, no error", about, err)
	}
	if _, _, err := decode([]byte("1,1\n"), CSV, Options{Columns: Columns{Time: -1, ID: 2}}, 10); err == nil {
		t.Error("columns of -1: no error")
	}
	var many bytes.Buffer
	for i := range maxNames + 1 {
		fmt.Fprintf(&many, "1,1,n%d\n", i)
	}
	got, _, err := decode(many.Bytes(), CSV, Options{Columns: Columns{Time: 1, ID: 2, Node: 3}}, 1000)
	if len(got) != maxNames || err == nil || !strings.Contains(err.Error(), "more than 65536 names") {
		t.Errorf("65,537 nodes: %d records, %v, want an error that says so", len(got), err)
	}
}

// TestTextCutOff cuts a csv everywhere. What ends within a line is an error unless what is
// left of it has all columns, since the last line need not have an end.
func TestTextCutOff(t *testing.T) {
	const whole = "100,17,4096\n101,18,4097\n102,19,4098\n"
	want, _, err := decode([]byte(whole), CSV, Options{}, 10)
	if err != nil {
		t.Fatal(err)
	}
	for n := 1; n < len(whole); n++ {
		got, _, err := decode([]byte(whole[:n]), CSV, Options{}, 2)
		lines := strings.Count(whole[:n], "\n")
		left := whole[:n][strings.LastIndex(whole[:n], "\n")+1:]
		switch {
		case left == "":
			equal(t, "cut off", got, want[:lines])
			if err != nil {
				t.Errorf("cut at %d, between lines: %v, want no error", n, err)
			}
		case strings.Count(left, ",") == 2 && !strings.HasSuffix(left, ","):
			if len(got) != lines+1 || err != nil {
				t.Errorf("cut at %d, in the last column: %d records, %v, want %d and no error", n, len(got), err, lines+1)
			}
		default:
			equal(t, "cut off", got, want[:lines])
			if lines > 0 && (!errors.Is(err, live.ErrDamaged) || !strings.Contains(err.Error(), at(12*lines, lines))) || err == nil {
				t.Errorf("cut at %d: %v, want ErrDamaged at %q", n, err, at(12*lines, lines))
			}
		}
	}
}

func TestWebcachesim(t *testing.T) {
	got, about, err := decode([]byte("3 17 4096\n  4\t18   5 0.5 7 9\r\n\n5 a 6"), Webcachesim, Options{}, 10)
	equal(t, "webcachesim", got, []Record{
		{Block: 17, Size: 4096, Bytes: 4096}, {Time: 1e6, Block: 18, Size: 5, Bytes: 5}, {Time: 2e6, Block: parseID([]byte("a")), Size: 6, Bytes: 6},
	})
	if err != nil || about.Start != 3e6 || about.Format != Webcachesim {
		t.Errorf("%+v, %v, want a start of 3 s and no error", about, err)
	}
	for text, want := range map[string]string{
		"1 2 3\n4 5\n":                "offset 6, record 1: line 2: trace is damaged: it has 2 columns, not 3",
		"1,2,3\n":                     "it has 1 columns, not 3",
		"x 2 3\n":                     `column 1, the time: "x" is no number`,
		string(requests(9)):           "it looks like a binary file, not webcachesim",
		"SHOALTRC" + "a binary trace": "it looks like shoal, not webcachesim",
	} {
		if _, _, err := decode([]byte(text), Webcachesim, Options{}, 10); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("decode(%.20q) = %v, want %q", text, err, want)
		}
	}
}

func FuzzCSV(f *testing.F) {
	f.Add([]byte("5,17,4096\n7,\"x,\"\"y\",1\n"), "")
	f.Add([]byte("t;i;n;d;o\n5;17;a;b;get\n"), "time-col=1,obj-id-col=2,node-col=3,dataset-col=4,op-col=5,delimiter=;,has-header=true")
	f.Add([]byte("\xef\xbb\xbf1.5\t2\t3\r\n"), `delimiter=\t,time-unit=ns`)
	f.Fuzz(func(t *testing.T, b []byte, columns string) {
		c, err := ParseColumns(columns)
		if err == nil {
			checkDecode(t, b, CSV, Options{Columns: c})
		}
	})
}

func FuzzWebcachesim(f *testing.F) {
	f.Add([]byte("3 17 4096\n  4\t18   5 0.5 7 9\r\n\n5 a 6"))
	f.Add([]byte("3 17 0\n"))
	f.Fuzz(func(t *testing.T, b []byte) { checkDecode(t, b, Webcachesim, Options{}) })
}

func BenchmarkCSV(b *testing.B) {
	var trace bytes.Buffer
	for i := range 1 << 16 {
		fmt.Fprintf(&trace, "%d,%d,%d\n", 1_700_000_000+i/1000, uint64(i)*0x9e3779b97f4a7c15, 4096+i)
	}
	benchmark(b, trace.Bytes(), CSV)
}
