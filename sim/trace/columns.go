package trace

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Columns say which column of a csv is what. They count from 1, and 0 is none. The zero value
// means time, id and size in the first three.
type Columns struct {
	// Time is when a request was, a number that may have a fraction. Required.
	Time int
	// ID names the block: a number, or what is hashed. Required.
	ID int
	// Size is that of the block in bytes. Default none: every block has shoal.BlockSize.
	Size int
	// Node is the name of who read. Default none.
	Node int
	// Dataset is the name of what the block belongs to. Default none.
	Dataset int
	// Op is a word like get or write. Default none: all read.
	Op int
	// Delimiter is between columns. Default ','.
	Delimiter byte
	// Header says that the first line is none of requests. Default false.
	Header bool
	// Unit is that of Time: 1s, 1ms, 1µs or 1ns. Default 1s.
	Unit time.Duration
}

const maxColumn = 1000

// ParseColumns reads columns as people write them, in the words of libCacheSim and some more:
// "time-col=1,obj-id-col=2,obj-size-col=3,node-col=4,dataset-col=5,op-col=6,delimiter=;,
// has-header=true,time-unit=ms". What separates them is ',' or ';'. After "delimiter=" stands
// one character, whichever it is, or \t.
func ParseColumns(text string) (Columns, error) {
	var c Columns
	for rest := text; strings.Trim(rest, " ,;") != ""; {
		rest = strings.TrimLeft(rest, " ,;")
		key, after, ok := strings.Cut(rest, "=")
		if !ok {
			return Columns{}, fmt.Errorf("columns %q: %q is no key=value", text, rest)
		}
		key = strings.ReplaceAll(strings.TrimSpace(key), "_", "-")
		var value string
		if key == "delimiter" {
			value, rest = cutDelimiter(after)
		} else {
			end := strings.IndexAny(after+",", ",;")
			value, rest = strings.TrimSpace(after[:end]), after[end:]
		}
		if err := c.set(key, value); err != nil {
			return Columns{}, fmt.Errorf("columns %q: %w", text, err)
		}
	}
	_, err := c.withDefaults()
	if err != nil {
		return Columns{}, fmt.Errorf("columns %q: %w", text, err)
	}
	return c, nil
}

// cutDelimiter cuts what follows "delimiter=" after one character, or where the next separator
// is, if that is later.
func cutDelimiter(after string) (value, rest string) {
	end := 0
	if after != "" {
		end = 1 + strings.IndexAny(after[1:]+",", ",;")
	}
	return after[:end], after[end:]
}

// set sets the column or the option called key.
func (c *Columns) set(key, value string) error {
	var column *int
	var err error
	switch key {
	case "time-col":
		column = &c.Time
	case "obj-id-col":
		column = &c.ID
	case "obj-size-col":
		column = &c.Size
	case "node-col":
		column = &c.Node
	case "dataset-col":
		column = &c.Dataset
	case "op-col":
		column = &c.Op
	case "delimiter":
		if value == `\t` {
			value = "\t"
		}
		if len(value) != 1 {
			return fmt.Errorf(`delimiter=%s: want one character, or \t`, value)
		}
		c.Delimiter = value[0]
	case "has-header":
		if c.Header, err = strconv.ParseBool(value); err != nil {
			return fmt.Errorf("has-header=%s: want true or false", value)
		}
	case "time-unit":
		if c.Unit, err = time.ParseDuration("1" + value); err != nil {
			return fmt.Errorf("time-unit=%s: want s, ms, us or ns", value)
		}
	default:
		return fmt.Errorf("no key %q: there are time-col, obj-id-col, obj-size-col, node-col, dataset-col, op-col, delimiter, has-header and time-unit", key)
	}
	if column != nil {
		if *column, err = strconv.Atoi(value); err != nil || *column < 1 {
			return fmt.Errorf("%s=%s: want a column, the first of which is 1", key, value)
		}
	}
	return nil
}

func (c Columns) withDefaults() (Columns, error) {
	if c.Time == 0 && c.ID == 0 && c.Size == 0 && c.Node == 0 && c.Dataset == 0 && c.Op == 0 {
		c.Time, c.ID, c.Size = 1, 2, 3
	}
	if c.Delimiter == 0 {
		c.Delimiter = ','
	}
	if c.Unit == 0 {
		c.Unit = time.Second
	}
	var errs []error
	if c.Time == 0 || c.ID == 0 {
		errs = append(errs, errors.New("time-col and obj-id-col are required"))
	}
	for _, column := range c.all() {
		if column < 0 || column > maxColumn {
			errs = append(errs, fmt.Errorf("column %d is not 1 to %d", column, maxColumn))
		}
	}
	if c.Delimiter >= '0' && c.Delimiter <= '9' || strings.IndexByte("\"\r\n.", c.Delimiter) >= 0 {
		errs = append(errs, fmt.Errorf("delimiter %q cannot be one", c.Delimiter))
	}
	switch c.Unit {
	case time.Second, time.Millisecond, time.Microsecond, time.Nanosecond:
	default:
		errs = append(errs, fmt.Errorf("time-unit of %v is not 1s, 1ms, 1us or 1ns", c.Unit))
	}
	return c, errors.Join(errs...)
}

// all returns the columns, those that are not there too.
func (c Columns) all() []int { return []int{c.Time, c.ID, c.Size, c.Node, c.Dataset, c.Op} }
