package check

// The component model's canonical ABI, written by hand: the memory layout of the values of sdk/wit/check.wit, and how they are
// passed.

import (
	"fmt"
	"math"
	"runtime/debug"
	"strings"
	"time"
	"unsafe"
)

// Go's pointers are 8 bytes in this ABI, those of the component model 4.
type (
	list struct{ data, length uint32 }
	pair struct{ key, value list }
)

// The host puts the values that it passes here. It asks for memory in the middle of an import, when the guest must not call
// another import. A garbage collection would call one, to read the clock. So collection is off, which a short run can afford; it
// would also free the passed values, since only the host points to them.
var arena []byte

const (
	arenaSize = 64 << 10
	maxAnswer = 1 << 20
)

const roomSize = 2<<16 + 64 // 64 for alignment

// Room for the stack and the state of the daemon's WASI layer, 64 KiB each. Otherwise the layer would add pages to the memory,
// which Go's heap takes for its own. The daemon finds this array by its mark.
var room = struct {
	mark       [16]byte
	used, size uint32
	end        [4]byte // the linker would drop trailing zeros
	pages      [roomSize]byte
}{
	mark: [16]byte{'v', 'o', 'u', 'c', 'h', 'd', ':', 'w', 'a', 's', 'i', '-', 'r', 'o', 'o', 'm'},
	used: 28,
	size: 28 + roomSize,
	end:  [4]byte{'r', 'o', 'o', 'm'},
}

// keep makes the linker keep what nothing else uses.
//
//go:noinline
func keep(unsafe.Pointer) {}

func init() {
	debug.SetGCPercent(-1)
	arena = make([]byte, arenaSize)
	keep(unsafe.Pointer(&room))
}

// prepare makes room before a probe with an answer of up to size bytes, also on the stack: if the stack grew while the host asks
// for memory, the probe would return to the old stack.
func prepare(size uint32) {
	if wanted := min(size, maxAnswer) + arenaSize; wanted > length(arena) {
		arena = make([]byte, wanted)
	}
	stack(0)
}

//go:noinline
func stack(i int) byte {
	var room [16 << 10]byte
	return room[i]
}

func allocate(size, align uint32) unsafe.Pointer {
	padding := -uint32(uintptr(pointer(arena))) & (align - 1)
	if padding+size > length(arena) {
		arena, padding = make([]byte, max(size, arenaSize)), 0
	}
	place := pointer(arena[padding:])
	arena = arena[padding+size:]
	return place
}

func reallocate(old unsafe.Pointer, oldSize, align, size uint32) unsafe.Pointer {
	if size <= oldSize {
		return old
	}
	place := allocate(size, align)
	copy(unsafe.Slice((*byte)(place), size), unsafe.Slice((*byte)(old), oldSize))
	return place
}

// These two names replace `cabi_realloc`, which the WASI adapter would call before the runtime has started.

//go:wasmexport cabi_export_realloc
func exportRealloc(old unsafe.Pointer, oldSize, align, size uint32) unsafe.Pointer {
	return reallocate(old, oldSize, align, size)
}

//go:wasmexport cabi_import_realloc
func importRealloc(old unsafe.Pointer, oldSize, align, size uint32) unsafe.Pointer {
	return reallocate(old, oldSize, align, size)
}

func (l list) bytes() []byte {
	return append([]byte(nil), at[byte](l)...)
}

func (l list) text() string { return string(at[byte](l)) }

// at returns the elements of a list that the host passed, without copying.
func at[T any](l list) []T {
	if l.length == 0 {
		return nil
	}
	return unsafe.Slice((*T)(unsafe.Add(nil, l.data)), l.length)
}

func listOf[T any](slice []T) list {
	return list{uint32(uintptr(pointer(slice))), length(slice)}
}

func listOfText(text string) list { return listOf(utf8(text)) }

func pointer[T any](slice []T) unsafe.Pointer { return unsafe.Pointer(unsafe.SliceData(slice)) }

func length[T any](slice []T) uint32 { return uint32(len(slice)) }

// utf8 replaces what is not UTF-8, which would trap on its way out of the plugin.
func utf8(text string) []byte { return []byte(strings.ToValidUTF8(text, "\uFFFD")) }

// milliseconds converts a timeout. In the contract, too, 0 is what the run has left.
func milliseconds(timeout time.Duration) uint32 {
	if timeout <= 0 {
		return 0
	}
	return uint32(min(max(timeout.Milliseconds(), 1), math.MaxUint32))
}

func flag(set bool) uint32 {
	if set {
		return 1
	}
	return 0
}

type rawMetric struct {
	name  list
	value float64
	unit  list
}

// result<report, string>
type rawResult struct {
	failed  uint8
	_       [3]byte
	verdict uint8 // the text of an error starts here
	_       [3]byte
	message list
	adjust  struct {
		some uint8
		_    uint8
		by   int16
	}
	metrics list
}

type rawError struct {
	failed uint8
	_      [3]byte
	text   list
}

// The values passed to the host stay here until it has read them. An instance serves one run.
var kept struct {
	report  rawResult
	err     rawError
	metrics []rawMetric
}

//go:wasmexport vouchd:check/checker@0.1.0#check
func check(name, nameLength, params, paramsLength, budget uint32) unsafe.Pointer {
	context := Context{
		Name: list{name, nameLength}.text(), Budget: time.Duration(budget) * time.Millisecond, host: daemon{},
	}
	for _, param := range at[pair](list{params, paramsLength}) {
		context.Params = append(context.Params, Param{param.key.text(), param.value.text()})
	}
	report, err := call(&context)
	if err != nil {
		kept.err = rawError{failed: 1, text: listOfText(err.Error())}
		return unsafe.Pointer(&kept.err)
	}
	for _, metric := range report.Metrics {
		kept.metrics = append(kept.metrics, rawMetric{listOfText(metric.Name), metric.Value, listOfText(metric.Unit)})
	}
	kept.report = rawResult{verdict: uint8(report.Verdict), message: listOfText(report.Message), metrics: listOf(kept.metrics)}
	if report.Adjust != nil {
		kept.report.adjust.some, kept.report.adjust.by = 1, *report.Adjust
	}
	return unsafe.Pointer(&kept.report)
}

// call turns a panic into an error with its text, which would otherwise be lost.
func call(context *Context) (report *Report, err error) {
	defer func() {
		if cause := recover(); cause != nil {
			report, err = nil, fmt.Errorf("panic: %v", cause)
		}
	}()
	if run == nil {
		return nil, fmt.Errorf("the plugin has no check: call check.Run in an init function")
	}
	report, err = run(context)
	if report == nil && err == nil {
		err = fmt.Errorf("the check returned neither a report nor an error")
	}
	return report, err
}
