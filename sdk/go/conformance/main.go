// Behaves as the parameter `do` says, for sdk/conformance: behaviours.py there says what each must show.
package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"strconv"
	"strings"
	"time"

	check "vouchd-check"
)

type params struct {
	Do       string
	Text     *string
	Address  string        `check:",default="`
	Path     string        `check:",default="`
	URL      string        `check:",default="`
	Name     string        `check:",default="`
	Number   int           `check:",default=0"`
	Insecure bool          `check:",default=false"`
	Timeout  time.Duration `check:",default=0s"`
	List     []string
	Headers  map[string]string
}

var acts = map[string]func(*check.Context, *params) (*check.Report, error){
	"pass":  verdict(check.Pass),
	"warn":  verdict(check.Warn),
	"fail":  verdict(check.Fail),
	"fault": verdict(check.Fault),
	"adjust": func(_ *check.Context, p *params) (*check.Report, error) {
		return check.Pass("adjusted").Adjusted(int16(p.Number)), nil
	},
	"metrics": func(*check.Context, *params) (*check.Report, error) {
		return check.Pass("measured").Metric("seconds", 0.25, "s").Metric("size", 1<<20, "B").Metric("share", 99.5, "%").
			Metric("count", 3, "c").Metric("plain", -1.5, "").Metric("größe", 1, ""), nil
	},
	"nan": func(*check.Context, *params) (*check.Report, error) {
		return check.Pass("measured").Metric("nan", math.NaN(), "").Metric("inf", math.Inf(1), "").Metric("fine", 1, ""), nil
	},
	"error": func(_ *check.Context, p *params) (*check.Report, error) { return nil, errors.New(*p.Text) },
	"panic": func(_ *check.Context, p *params) (*check.Report, error) {
		return check.Pass("%v", []string{}[len(p.Do)]), nil
	},
	"nothing": func(*check.Context, *params) (*check.Report, error) { return nil, nil },
	"length": func(_ *check.Context, p *params) (*check.Report, error) {
		return check.Pass("%d bytes", len(*p.Text)), nil
	},
	"params": func(ctx *check.Context, _ *params) (*check.Report, error) {
		var all []string
		for _, param := range ctx.Params[1:] {
			all = append(all, param.Key+"="+param.Value)
		}
		return check.Pass("%s", strings.Join(all, " ")), nil
	},
	"context": func(ctx *check.Context, _ *params) (*check.Report, error) {
		return check.Pass("%s %d", ctx.Name, ctx.Budget.Milliseconds()), nil
	},
	"count": func(ctx *check.Context, _ *params) (*check.Report, error) {
		runs, _ := strconv.Atoi(string(ctx.Recall()))
		ctx.Remember([]byte(strconv.Itoa(runs + 1)))
		return check.Pass("counted").Metric("runs", float64(runs+1), "c"), nil
	},
	"bytes": func(ctx *check.Context, _ *params) (*check.Report, error) {
		var all []byte
		for value := range 256 {
			all = append(all, byte(value))
		}
		found := ctx.Recall()
		ctx.Remember(all)
		if len(found) != 0 && !bytes.Equal(found, all) {
			return check.Fail("found %v", found), nil
		}
		return check.Pass("%d bytes came back", len(found)), nil
	},
	"remember": func(ctx *check.Context, p *params) (*check.Report, error) {
		ctx.Remember(make([]byte, p.Number))
		return check.Pass("remembers"), nil
	},
	"log": func(ctx *check.Context, p *params) (*check.Report, error) {
		for _, level := range []check.Level{check.Debug, check.Info, check.Warning, check.Error} {
			ctx.Log(level, *p.Text)
		}
		return check.Pass("said"), nil
	},
	"flood": func(ctx *check.Context, _ *params) (*check.Report, error) {
		for i := range 1000 {
			ctx.Log(check.Info, fmt.Sprint("line ", i))
		}
		return check.Pass("said"), nil
	},
	"process": func(ctx *check.Context, p *params) (*check.Report, error) {
		found, err := ctx.Processes(check.ProcessQuery{Name: p.Name})
		if err != nil {
			return check.FailOn(err, p.Do)
		}
		if len(found) == 0 {
			return check.Fail("none"), nil
		}
		return check.Pass("%d: %d %s", len(found), found[0].PID, found[0].Name).Metric("age", found[0].Age.Seconds(), "s"), nil
	},
	"tcp": func(ctx *check.Context, p *params) (*check.Report, error) {
		reply, err := ctx.TCP(check.TCPRequest{
			Address: p.Address, Send: []byte(*p.Text + "\n"), Until: []byte("\n"), MaxBytes: 100_000, Timeout: p.Timeout,
		})
		if err != nil {
			return check.FailOn(err, p.Do)
		}
		return check.Pass("%d bytes: %s", len(reply.Data), reply.Data).Metric("connect", reply.Connect.Seconds(), "s"), nil
	},
	"http": func(ctx *check.Context, p *params) (*check.Report, error) {
		response, err := ctx.HTTP(check.HTTPRequest{
			Method: "POST", URL: p.URL, Headers: []check.Header{{Name: "x-question", Value: "why"}}, Body: []byte(*p.Text),
			MaxBodyBytes: 100_000, InsecureTLS: p.Insecure, Timeout: p.Timeout,
		})
		if err != nil {
			return check.FailOn(err, p.Do)
		}
		var answer string
		for _, header := range response.Headers {
			if header.Name == "x-answer" {
				answer = header.Value
			}
		}
		return check.Pass("%d %s %s", response.Status, answer, response.Body).Metric("total", response.Total.Seconds(), "s"), nil
	},
	"stat": func(ctx *check.Context, p *params) (*check.Report, error) {
		info, err := ctx.Stat(p.Path)
		if errors.Is(err, fs.ErrNotExist) {
			return check.Warn("no such file"), nil
		}
		if err != nil {
			return check.FailOn(err, p.Do)
		}
		kind := []string{"file", "directory", "other"}[info.Kind]
		return check.Pass("%s", kind).Metric("size", float64(info.Size), "B").Metric("age", info.Age.Seconds(), "s"), nil
	},
	"read": func(ctx *check.Context, p *params) (*check.Report, error) {
		data, err := ctx.ReadFile(p.Path, uint32(p.Number))
		if errors.Is(err, fs.ErrNotExist) {
			return check.Warn("no such file"), nil
		}
		if err != nil {
			return check.FailOn(err, p.Do)
		}
		return check.Pass("%d bytes: %s", len(data), data[:min(len(data), 20)]), nil
	},
	"space": func(ctx *check.Context, p *params) (*check.Report, error) {
		space, err := ctx.Space(p.Path)
		if err != nil {
			return check.FailOn(err, p.Do)
		}
		return check.Pass("%t", space.Total >= space.Available && space.Inodes >= space.InodesAvailable).
			Metric("total", float64(space.Total), "B"), nil
	},
	"resolve": func(ctx *check.Context, p *params) (*check.Report, error) {
		found, err := ctx.Resolve(p.Name, p.Timeout)
		if err != nil {
			return check.FailOn(err, p.Do)
		}
		return check.Pass("%v", found), nil
	},
	"links": func(ctx *check.Context, p *params) (*check.Report, error) {
		links, err := ctx.Links()
		if err != nil {
			return check.FailOn(err, p.Do)
		}
		for _, link := range links {
			if link.Name == p.Name {
				return check.Pass("%s up=%t carrier=%t", link.Name, link.Up, link.Carrier), nil
			}
		}
		return check.Fail("no such link"), nil
	},
	"addresses": func(ctx *check.Context, p *params) (*check.Report, error) {
		addresses, err := ctx.Addresses()
		if err != nil {
			return check.FailOn(err, p.Do)
		}
		for _, address := range addresses {
			if address.Prefix.Addr().String() == p.Address {
				return check.Pass("%s %s", address.Link, address.Prefix), nil
			}
		}
		return check.Fail("no such address"), nil
	},
	"talk": func(ctx *check.Context, p *params) (*check.Report, error) {
		connection, err := connect(ctx, p)
		if err != nil {
			return check.FailOn(err, p.Do)
		}
		defer connection.Close()
		var said []string
		for _, send := range []string{"", "", "SAY " + *p.Text + "\r\n"} {
			if send != "" {
				if err := connection.Send([]byte(send)); err != nil {
					return check.FailOn(err, p.Do)
				}
			}
			line, err := connection.ReceiveUntil([]byte("\r\n"), 100_000, p.Timeout)
			if err != nil {
				return check.FailOn(err, p.Do)
			}
			said = append(said, strings.TrimSpace(string(line)))
		}
		return check.Pass("%s", strings.Join(said, "|")), nil
	},
	"starttls": func(ctx *check.Context, p *params) (*check.Report, error) {
		connection, err := connect(ctx, p)
		if err != nil {
			return check.FailOn(err, p.Do)
		}
		defer connection.Close()
		if err := connection.Send([]byte("STARTTLS\r\n")); err != nil {
			return check.FailOn(err, p.Do)
		}
		if _, err := connection.ReceiveUntil([]byte("go\r\n"), 1000, 0); err != nil {
			return check.FailOn(err, p.Do)
		}
		shown, err := connection.StartTLS(p.Name, !p.Insecure, 0)
		if err != nil {
			return check.FailOn(err, p.Do)
		}
		if err := connection.Send([]byte("SAY " + *p.Text + "\r\n")); err != nil {
			return check.FailOn(err, p.Do)
		}
		line, err := connection.ReceiveUntil([]byte("\r\n"), 1000, 0)
		if err != nil {
			return check.FailOn(err, p.Do)
		}
		days := shown.NotAfter.Sub(shown.NotBefore).Hours() / 24
		ctx.Log(check.Info, shown.Problem)
		return check.Pass("%s %s %s %s %s", shown.Protocol, shown.Subject, shown.Issuer, strings.Join(shown.Names, ","),
			strings.TrimSpace(string(line))).Metric("days", days, ""), nil
	},
	"many": func(ctx *check.Context, p *params) (*check.Report, error) {
		for range p.Number {
			connection, err := connect(ctx, p)
			if err != nil {
				return check.FailOn(err, p.Do)
			}
			if err := connection.Close(); err != nil {
				return nil, err
			}
		}
		return check.Pass("%d connections", p.Number), nil
	},
	"hoard": func(ctx *check.Context, p *params) (*check.Report, error) {
		for range p.Number {
			if _, err := connect(ctx, p); err != nil {
				return check.FailOn(err, p.Do)
			}
		}
		return check.Pass("%d connections", p.Number), nil
	},
	"clock": func(ctx *check.Context, _ *params) (*check.Report, error) {
		return check.Pass("%d", ctx.Now().UnixMilli()), nil
	},
	"env": func(_ *check.Context, p *params) (*check.Report, error) {
		return check.Pass("%s", os.Getenv(p.Name)), nil
	},
	"loop": func(*check.Context, *params) (*check.Report, error) {
		for {
		}
	},
	"memory": func(*check.Context, *params) (*check.Report, error) {
		var all [][]byte
		for {
			all = append(all, bytes.Repeat([]byte{1}, 1<<20))
		}
	},
	"recurse": func(_ *check.Context, p *params) (*check.Report, error) {
		return check.Pass("%d", recurse(p.Number)), nil
	},
}

func verdict(report func(string, ...any) *check.Report) func(*check.Context, *params) (*check.Report, error) {
	return func(ctx *check.Context, _ *params) (*check.Report, error) {
		text, err := ctx.Param("text")
		if err != nil {
			return nil, err
		}
		return report("%s", text), nil
	}
}

func connect(ctx *check.Context, p *params) (check.Connection, error) {
	if p.Path != "" {
		return ctx.ConnectUnix(p.Path, p.Timeout)
	}
	return ctx.ConnectTCP(p.Address, p.Timeout)
}

func recurse(n int) int { return recurse(n+1) + n }

func init() {
	check.Run(func(ctx *check.Context) (*check.Report, error) {
		var p params
		if err := ctx.Decode(&p); err != nil {
			return nil, err
		}
		act, found := acts[p.Do]
		if !found {
			return nil, fmt.Errorf("parameter `do`: found %q", p.Do)
		}
		return act(ctx, &p)
	})
}

func main() {}
