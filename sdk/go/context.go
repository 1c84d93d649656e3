package check

import (
	"net/netip"
	"time"
)

// Context is the context of a run: its parameters, its time, and the services of the daemon. Probes need a grant of the operator;
// their errors are of type [ProbeError]. A timeout of 0 is the time that the run has left.
type Context struct {
	// Name is the name of the check in the configuration.
	Name string
	// Params are the parameters in file order. Tables are flattened (`headers.accept`); a list repeats its name. See
	// [Context.Decode].
	Params []Param
	// Budget is the time that the run had when it started.
	Budget time.Duration

	host Host
}

// Host is what is behind a context: the daemon, or the fake one of package checktest. Checks call the methods of [Context].
type Host interface {
	TCP(TCPRequest) (*TCPReply, error)
	HTTP(HTTPRequest) (*HTTPResponse, error)
	Processes(ProcessQuery) ([]Process, error)
	Stat(path string) (*FileInfo, error)
	ReadFile(path string, maxBytes uint32) ([]byte, error)
	Space(path string) (*Space, error)
	Resolve(name string, timeout time.Duration) ([]netip.Addr, error)
	Links() ([]Link, error)
	Addresses() ([]Address, error)
	ConnectTCP(address string, timeout time.Duration) (Connection, error)
	ConnectUnix(path string, timeout time.Duration) (Connection, error)
	Now() time.Time
	Log(level Level, message string)
	Recall() []byte
	Remember(data []byte)
}

// NewContext makes a context for tests; see package checktest.
func NewContext(host Host, name string, params []Param, budget time.Duration) *Context {
	return &Context{Name: name, Params: params, Budget: budget, host: host}
}

// TCP connects, sends, and receives, in one exchange.
func (c *Context) TCP(request TCPRequest) (*TCPReply, error) { return c.host.TCP(request) }

// HTTP makes one HTTP request. Any status is a response, not an error.
func (c *Context) HTTP(request HTTPRequest) (*HTTPResponse, error) { return c.host.HTTP(request) }

// Processes finds running processes. The daemon watches them: when one ends, the check runs again at once.
func (c *Context) Processes(query ProcessQuery) ([]Process, error) { return c.host.Processes(query) }

// Stat looks at an absolute path. The error is [io/fs.ErrNotExist] if nothing is there.
func (c *Context) Stat(path string) (*FileInfo, error) { return c.host.Stat(path) }

// ReadFile reads the first maxBytes of a regular file. The error is [io/fs.ErrNotExist] if there is no such file. If maxBytes
// is more than `limits.probe_bytes`, a file longer than that limit is denied, never cut.
func (c *Context) ReadFile(path string, maxBytes uint32) ([]byte, error) {
	return c.host.ReadFile(path, maxBytes)
}

// Space measures the file system that holds path.
func (c *Context) Space(path string) (*Space, error) { return c.host.Space(path) }

// Resolve looks up a name with the host's resolver, or `NAME@SERVER` at one name server. It returns at least one address, each
// once.
func (c *Context) Resolve(name string, timeout time.Duration) ([]netip.Addr, error) {
	return c.host.Resolve(name, timeout)
}

// Links lists the network links of the host. It needs no grant.
func (c *Context) Links() ([]Link, error) { return c.host.Links() }

// Addresses lists the addresses of the host. It needs no grant.
func (c *Context) Addresses() ([]Address, error) { return c.host.Addresses() }

// ConnectTCP opens a connection to `host:port`, IPv6 in brackets.
func (c *Context) ConnectTCP(address string, timeout time.Duration) (Connection, error) {
	return c.host.ConnectTCP(address, timeout)
}

// ConnectUnix opens a connection to a unix socket.
func (c *Context) ConnectUnix(path string, timeout time.Duration) (Connection, error) {
	return c.host.ConnectUnix(path, timeout)
}

// Now is the host's clock, in whole milliseconds.
func (c *Context) Now() time.Time { return c.host.Now() }

// Log writes a line to the daemon's log. The daemon cuts it after 1024 bytes, and drops lines beyond `limits.log_lines`.
func (c *Context) Log(level Level, message string) { c.host.Log(level, message) }

// Recall returns what an earlier run remembered; empty at first.
func (c *Context) Recall() []byte { return c.host.Recall() }

// Remember keeps up to 4096 bytes for the next run, if this one ends without an error. More make the run an error.
func (c *Context) Remember(data []byte) { c.host.Remember(data) }
