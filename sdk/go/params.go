package check

import (
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"
	"time"
)

// Param is one parameter of the check: name and value.
type Param struct{ Key, Value string }

// Param returns a parameter that must be given once.
func (c *Context) Param(key string) (string, error) {
	values := c.ParamList(key)
	if len(values) == 0 {
		return "", missing(key)
	}
	if len(values) > 1 {
		return "", tooMany(key, len(values))
	}
	return values[0], nil
}

// ParamOr returns a parameter that may be given once, or `missing`.
func (c *Context) ParamOr(key, missing string) (string, error) {
	if len(c.ParamList(key)) == 0 {
		return missing, nil
	}
	return c.Param(key)
}

// ParamList returns all values of a parameter that may be a list in the configuration.
func (c *Context) ParamList(key string) []string {
	var values []string
	for _, param := range c.Params {
		if param.Key == key {
			values = append(values, param.Value)
		}
	}
	return values
}

// AllowParams returns an error if there is any other parameter, so that a misspelt one is not ignored.
func (c *Context) AllowParams(keys ...string) error {
next:
	for _, param := range c.Params {
		for _, key := range keys {
			if param.Key == key {
				continue next
			}
		}
		return fmt.Errorf("unknown parameter `%s`, expected one of: %s", param.Key, strings.Join(keys, ", "))
	}
	return nil
}

// Decode sets the fields of the struct that `into` points to. A parameter without a field is an error.
//
//	type params struct {
//		Address string                                        // `address`; required
//		Timeout time.Duration     `check:"timeout,default=1s"` // `"500ms"`, `"2s"`, `"7d"`
//		Codes   []int                                         // a list, or one value; may be empty
//		Headers map[string]string                             // a table
//		Label   *string                                       // nil if not given
//		Limits  struct{ Low, High float64 }                   // a table with these names
//	}
//
// The name of a parameter is that of its field in lower case, with `_` between words, unless the tag gives another. A field is a
// string, a bool, an integer, a float, a [time.Duration], or a slice, string map, pointer or struct of these.
func (c *Context) Decode(into any) error {
	target := reflect.ValueOf(into)
	if target.Kind() != reflect.Pointer || target.Elem().Kind() != reflect.Struct {
		return fmt.Errorf("Decode: expected a pointer to a struct, found %T", into)
	}
	decoder := decoder{params: c.Params, used: make([]bool, len(c.Params))}
	if err := decoder.fields("", target.Elem()); err != nil {
		return err
	}
	for i, used := range decoder.used {
		if !used {
			return fmt.Errorf("unknown parameter `%s`, expected one of: %s", c.Params[i].Key, strings.Join(decoder.known, ", "))
		}
	}
	return nil
}

type decoder struct {
	params []Param
	used   []bool
	known  []string
}

var duration = reflect.TypeFor[time.Duration]()

func (d *decoder) fields(prefix string, target reflect.Value) error {
	for i := range target.NumField() {
		field := target.Type().Field(i)
		if !field.IsExported() {
			continue
		}
		name, fallback, hasFallback := strings.Cut(field.Tag.Get("check"), ",default=")
		if name == "" {
			name = snake(field.Name)
		}
		if err := d.field(prefix+name, target.Field(i), fallback, hasFallback); err != nil {
			return err
		}
	}
	return nil
}

func (d *decoder) field(key string, target reflect.Value, fallback string, hasFallback bool) error {
	switch {
	case target.Kind() == reflect.Struct:
		return d.fields(key+".", target)
	case target.Kind() == reflect.Map:
		return d.table(key, target)
	}
	d.known = append(d.known, key)
	values := d.take(func(found string) bool { return found == key })
	if len(values) == 0 && hasFallback {
		values = []string{fallback}
	}
	switch {
	case target.Kind() == reflect.Slice:
		for _, value := range values {
			element := reflect.New(target.Type().Elem()).Elem()
			if err := set(key, value, element); err != nil {
				return err
			}
			target.Set(reflect.Append(target, element))
		}
		return nil
	case len(values) > 1:
		return tooMany(key, len(values))
	case len(values) == 1 && target.Kind() == reflect.Pointer:
		target.Set(reflect.New(target.Type().Elem()))
		return set(key, values[0], target.Elem())
	case len(values) == 1:
		return set(key, values[0], target)
	case target.Kind() == reflect.Pointer:
		return nil
	default:
		return missing(key)
	}
}

func (d *decoder) table(key string, target reflect.Value) error {
	d.known = append(d.known, key+".*")
	target.Set(reflect.MakeMap(target.Type()))
	for i, param := range d.params {
		name, found := strings.CutPrefix(param.Key, key+".")
		if !found {
			continue
		}
		d.used[i] = true
		element := reflect.New(target.Type().Elem()).Elem()
		if err := set(param.Key, param.Value, element); err != nil {
			return err
		}
		target.SetMapIndex(reflect.ValueOf(name), element)
	}
	return nil
}

func (d *decoder) take(wanted func(string) bool) []string {
	var values []string
	for i, param := range d.params {
		if wanted(param.Key) {
			d.used[i] = true
			values = append(values, param.Value)
		}
	}
	return values
}

func set(key, value string, target reflect.Value) error {
	wrong := func(expected string) error {
		return fmt.Errorf("parameter `%s`: expected %s, found %q", key, expected, value)
	}
	switch {
	case target.Type() == duration:
		parsed, valid := parseDuration(value)
		if !valid {
			return wrong("a duration like \"500ms\"")
		}
		target.SetInt(int64(parsed))
	case target.Kind() == reflect.String:
		target.SetString(value)
	case target.Kind() == reflect.Bool:
		if value != "true" && value != "false" {
			return wrong("true or false")
		}
		target.SetBool(value == "true")
	case target.CanInt():
		number, err := strconv.ParseInt(value, 10, target.Type().Bits())
		if err != nil {
			return wrong("a whole number of " + strconv.Itoa(target.Type().Bits()) + " bits")
		}
		target.SetInt(number)
	case target.CanUint():
		number, err := strconv.ParseUint(value, 10, target.Type().Bits())
		if err != nil {
			return wrong("a whole number from 0, of " + strconv.Itoa(target.Type().Bits()) + " bits")
		}
		target.SetUint(number)
	case target.CanFloat():
		number, err := strconv.ParseFloat(value, target.Type().Bits())
		if err != nil {
			return wrong("a number")
		}
		target.SetFloat(number)
	default:
		return fmt.Errorf("parameter `%s`: Decode does not support the type %s", key, target.Type())
	}
	return nil
}

var units = map[string]time.Duration{
	"ms": time.Millisecond, "s": time.Second, "m": time.Minute, "h": time.Hour, "d": 24 * time.Hour,
}

// parseDuration accepts what the configuration accepts, up to 292 years.
func parseDuration(text string) (time.Duration, bool) {
	rest := strings.TrimLeft(text, "0123456789")
	number, err := strconv.ParseInt(strings.TrimSuffix(text, rest), 10, 64)
	unit, known := units[strings.TrimLeft(rest, " ")]
	if err != nil || !known || number > int64(math.MaxInt64/unit) {
		return 0, false
	}
	return time.Duration(number) * unit, true
}

// snake makes `MaxAge` into `max_age` and `URL` into `url`.
func snake(name string) string {
	var out strings.Builder
	for i, letter := range name {
		isUpper := letter >= 'A' && letter <= 'Z'
		if isUpper && i > 0 {
			previous := name[i-1]
			nextIsLower := i+1 < len(name) && name[i+1] >= 'a' && name[i+1] <= 'z'
			if previous >= 'a' && previous <= 'z' || previous >= 'A' && previous <= 'Z' && nextIsLower {
				out.WriteByte('_')
			}
		}
		out.WriteString(strings.ToLower(string(letter)))
	}
	return out.String()
}

func missing(key string) error { return fmt.Errorf("parameter `%s` is missing", key) }

func tooMany(key string, count int) error {
	return fmt.Errorf("parameter `%s`: found %d values, expected one", key, count)
}
