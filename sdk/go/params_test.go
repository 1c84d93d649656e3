package check

import (
	"bufio"
	"math"
	"os"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"
)

type everything struct {
	Address string
	Timeout time.Duration `check:"timeout,default=1s"`
	Codes   []int
	Headers map[string]string
	Label   *string
	MaxLoad float64 `check:",default=1.5"`
	Weight  int16   `check:",default=0"`
	Strict  bool    `check:",default=false"`
	Range   struct{ Low, High uint8 }
}

func decode(params ...Param) (everything, error) {
	var decoded everything
	given := []Param{{"address", "a:1"}, {"range.low", "1"}, {"range.high", "2"}}
	err := NewContext(nil, "test", append(given, params...), time.Second).Decode(&decoded)
	return decoded, err
}

func TestParametersBecomeFields(t *testing.T) {
	found, err := decode(Param{"timeout", "2d"}, Param{"codes", "200"}, Param{"codes", "204"}, Param{"headers.x-a", "1"},
		Param{"label", ""}, Param{"max_load", "0.5"}, Param{"weight", "-7"}, Param{"strict", "true"})
	empty := ""
	expected := everything{
		"a:1", 48 * time.Hour, []int{200, 204}, map[string]string{"x-a": "1"}, &empty, 0.5, -7, true,
		struct{ Low, High uint8 }{1, 2},
	}
	if err != nil || !reflect.DeepEqual(found, expected) {
		t.Errorf("expected %+v, found %+v, %v", expected, found, err)
	}
}

func TestLeftOutParameterHasItsDefault(t *testing.T) {
	found, err := decode()
	if err != nil || found.Timeout != time.Second || found.Codes != nil || found.Label != nil || found.MaxLoad != 1.5 {
		t.Errorf("found %+v, %v", found, err)
	}
}

func TestWrongParametersAreNamed(t *testing.T) {
	table := []struct {
		param    Param
		expected string
	}{
		{Param{"timeout", "5"}, "parameter `timeout`: expected a duration like \"500ms\", found \"5\""},
		{Param{"codes", "many"}, "parameter `codes`: expected a whole number of 64 bits, found \"many\""},
		{Param{"weight", "40000"}, "parameter `weight`: expected a whole number of 16 bits, found \"40000\""},
		{Param{"strict", "yes"}, "parameter `strict`: expected true or false, found \"yes\""},
		{Param{"max_load", ""}, "parameter `max_load`: expected a number, found \"\""},
		{Param{"address", "b:2"}, "parameter `address`: found 2 values, expected one"},
		{Param{"adress", "b:2"}, "unknown parameter `adress`, expected one of: address, timeout, codes, headers.*, label, " +
			"max_load, weight, strict, range.low, range.high"},
	}
	for _, row := range table {
		if _, err := decode(row.param); err == nil || err.Error() != row.expected {
			t.Errorf("%v: expected %q, found %v", row.param, row.expected, err)
		}
	}
	var decoded everything
	if err := NewContext(nil, "test", nil, 0).Decode(&decoded); err == nil || err.Error() != "parameter `address` is missing" {
		t.Errorf("found %v", err)
	}
}

func TestNamesAreInSnakeCase(t *testing.T) {
	for name, expected := range map[string]string{"MaxAge": "max_age", "URL": "url", "HTTPStatus": "http_status"} {
		if found := snake(name); found != expected {
			t.Errorf("%s: expected %s, found %s", name, expected, found)
		}
	}
}

func TestDurationsAreWrittenAsInTheConfiguration(t *testing.T) {
	file, err := os.Open("../durations.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	rows := 0
	for lines := bufio.NewScanner(file); lines.Scan(); {
		text, expected, isRow := strings.Cut(lines.Text(), "|")
		if !isRow || strings.HasPrefix(text, "#") {
			continue
		}
		rows++
		milliseconds, err := strconv.ParseUint(expected, 10, 64)
		isDuration := err == nil && milliseconds <= math.MaxInt64/uint64(time.Millisecond)
		found, valid := parseDuration(text)
		if valid != isDuration || valid && found != time.Duration(milliseconds)*time.Millisecond {
			t.Errorf("%q: expected %q, found %v, %t", text, expected, found, valid)
		}
	}
	if rows < 20 {
		t.Errorf("found %d rows", rows)
	}
}
