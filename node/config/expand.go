package config

import (
	"errors"
	"fmt"
	"strings"
)

// expand replaces each ${NAME} in text by the environment variable, and each
// ${NAME:-default} by the variable or, if that is unset or empty, the default. A
// variable without a default must be set, though it may be empty. "$${" stands for
// "${"; a value put in is not looked at again.
func expand(text string, getenv func(string) (string, bool)) (string, error) {
	var out strings.Builder
	rest := text
	for {
		before, after, found := strings.Cut(rest, "${")
		if !found {
			out.WriteString(rest)
			return out.String(), nil
		}
		if literal, ok := strings.CutSuffix(before, "$"); ok {
			out.WriteString(literal + "${")
			rest = after
			continue
		}
		out.WriteString(before)
		reference, tail, found := strings.Cut(after, "}")
		if !found {
			return text, errors.New("${ without }; close it, or write $${ for the characters themselves")
		}
		value, err := lookup(reference, getenv)
		if err != nil {
			return text, err
		}
		out.WriteString(value)
		rest = tail
	}
}

// lookup returns what reference, the inside of a ${}, stands for.
func lookup(reference string, getenv func(string) (string, bool)) (string, error) {
	name, fallback, hasDefault := strings.Cut(reference, ":-")
	if !isName(name) {
		return "", fmt.Errorf("${%s} names no environment variable; write ${NAME} or ${NAME:-default}", reference)
	}
	value, ok := getenv(name)
	if hasDefault && value == "" {
		return fallback, nil
	}
	if !ok {
		return "", fmt.Errorf("the environment variable %s is not set; set it, or write ${%s:-default}", name, name)
	}
	return value, nil
}

// isName reports whether s can name an environment variable.
func isName(s string) bool {
	for i := range len(s) {
		c := s[i]
		letter := c == '_' || 'a' <= c|0x20 && c|0x20 <= 'z'
		if !letter && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return s != ""
}
