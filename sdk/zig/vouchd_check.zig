//! vouchd checks in Zig: bindings of the contract ../wit/check.wit, written by hand. No libc, no WASI.
//!
//! Write `fn check(ctx: Context) !Report`, and put `comptime { vouchd.entry(check); }` beside it. An error that the function
//! returns means that the check could not be carried out; `fail` gives it a text. Each run is a fresh instance, so nothing is
//! freed, and no variable survives the run. `pub const panic = vouchd.panic;` in the root file passes the message of a panic to
//! the daemon.
//!
//! The extern structs have the layout of the contract (the component model's canonical ABI).

const std = @import("std");
const builtin = @import("builtin");
const params_of = @import("vouchd_params.zig");
const probes = @import("vouchd_probes.zig");

/// The allocator of a plugin, which never frees. Tests run natively, with another one.
pub const alloc = if (builtin.cpu.arch.isWasm()) std.heap.wasm_allocator else std.heap.page_allocator;

/// `Check`: the check could not be carried out. `Unanswered`: a probe gave no answer, which is a `fail`.
pub const Error = error{ Check, Unanswered, OutOfMemory };

/// The text of `Check`, set by `fail`.
pub var reason: []const u8 = "";

/// Makes an error: the check could not be carried out, for this reason. It is not a verdict about the service.
pub fn fail(comptime format: []const u8, args: anytype) Error {
    reason = try std.fmt.allocPrint(alloc, format, args);
    return error.Check;
}

/// A text or a list in the layout of the contract.
pub fn List(comptime T: type) type {
    return extern struct {
        ptr: [*]const T,
        len: usize,

        pub fn of(items: []const T) @This() {
            // The pointer of an empty slice may lie outside of the memory, which the daemon rejects.
            return .{ .ptr = if (items.len == 0) @ptrFromInt(@alignOf(T)) else items.ptr, .len = items.len };
        }
        pub fn slice(self: @This()) []const T {
            return self.ptr[0..self.len];
        }
    };
}

pub const Text = List(u8);
pub const Param = extern struct { key: Text, value: Text };
pub const Duration = params_of.Duration;
pub const Table = params_of.Table;

pub const Context = struct {
    /// The name of the check in the configuration.
    name: []const u8,
    /// In file order. Tables are flattened (`headers.accept`); a list repeats its name.
    params: []const Param,
    /// Milliseconds until the daemon ends the run.
    budget_ms: u32,

    /// Returns all parameters as a struct whose fields have their names. A field without a default is required, and a parameter
    /// without a field is an error. A field is a `[]const u8`, `bool`, an integer, a float, a `Duration` (written `"500ms"`,
    /// `"7d"`), an optional or a slice of these, a `Table`, or another struct, which is a table too.
    pub fn decode(self: Context, comptime Params: type) Error!Params {
        return params_of.decode(Params, self.params);
    }

    /// Returns the first parameter with that name.
    pub fn param(self: Context, key: []const u8) ?[]const u8 {
        for (self.params) |given| {
            if (std.mem.eql(u8, given.key.slice(), key)) return given.value.slice();
        }
        return null;
    }

    /// Returns an error if a parameter is none of `known`, most likely because of a typing error.
    pub fn allowParams(self: Context, known: []const []const u8) Error!void {
        for (self.params) |given| {
            for (known) |name| {
                if (std.mem.eql(u8, given.key.slice(), name)) break;
            } else return fail("unknown parameter `{s}`", .{given.key.slice()});
        }
    }
};

/// The report of a run that ends with `Unanswered`.
pub var unanswered: Report = undefined;

/// The verdict about the service, best first.
pub const Verdict = enum(u8) {
    /// The service works.
    pass,
    /// The service works, but another router would serve better.
    warn,
    /// The service does not work. What that costs is the operator's choice.
    fail,
    /// This router must not be active, whatever the priorities.
    fault,
};

const Metric = extern struct { name: Text, value: f64, unit: Text };

pub const Report = struct {
    verdict: Verdict,
    /// One line for the operator, ideally with what was expected and what was found.
    message: []const u8,
    /// A change of the priority, applied as far as the operator allows: by default not at all.
    adjust: ?i16 = null,
    metrics: std.ArrayList(Metric) = .empty,

    pub fn init(verdict: Verdict, comptime format: []const u8, args: anytype) Error!Report {
        return .{ .verdict = verdict, .message = try std.fmt.allocPrint(alloc, format, args) };
    }

    /// Adds a metric. The unit is `s` (seconds), `B` (bytes), `%`, `c` (a counter), or empty.
    pub fn metric(self: *Report, name: []const u8, value: f64, unit: []const u8) Error!void {
        try self.metrics.append(alloc, .{ .name = .of(name), .value = value, .unit = .of(unit) });
    }
};

pub const ProbeError = probes.ProbeError;
pub const Answer = probes.Answer;
pub const TcpRequest = probes.TcpRequest;
pub const TcpReply = probes.TcpReply;
pub const tcp = probes.tcp;
pub const Header = probes.Header;
pub const HttpRequest = probes.HttpRequest;
pub const HttpResponse = probes.HttpResponse;
pub const http = probes.http;
pub const ProcessQuery = probes.ProcessQuery;
pub const Process = probes.Process;
pub const findProcesses = probes.findProcesses;
pub const FileInfo = probes.FileInfo;
pub const stat = probes.stat;
pub const read = probes.read;
pub const Space = probes.Space;
pub const space = probes.space;
pub const resolve = probes.resolve;
pub const Link = probes.Link;
pub const links = probes.links;
pub const Address = probes.Address;
pub const addresses = probes.addresses;
pub const Certificate = probes.Certificate;
pub const Connection = probes.Connection;
pub const connectTcp = probes.connectTcp;
pub const connectUnix = probes.connectUnix;
pub const now = probes.now;

const memo = struct {
    extern "vouchd:check/memo@0.1.0" fn get(answer: *Text) void;
    extern "vouchd:check/memo@0.1.0" fn set(data: [*]const u8, len: usize) void;
};

/// Returns what an earlier run remembered; empty at first.
pub fn recall() []const u8 {
    var data: Text = undefined;
    memo.get(&data);
    return data.slice();
}

/// Keeps up to 4096 bytes for the next run, if this one ends without an error. More make the run an error.
pub fn remember(data: []const u8) void {
    memo.set(Text.of(data).ptr, data.len);
}

pub const Level = enum(u32) { debug, info, warn, err };

const logger = struct {
    extern "vouchd:check/log@0.1.0" fn log(level: Level, message: [*]const u8, len: usize) void;
};

/// Writes a line to the daemon's log.
pub fn log(level: Level, message: []const u8) void {
    logger.log(level, Text.of(message).ptr, message.len);
}

/// For the root file: `pub const panic = vouchd.panic;`. A panic ends the run with an error that has its message.
pub const panic = std.debug.FullPanic(struct {
    fn panicked(words: []const u8, _: ?usize) noreturn {
        log(.err, words);
        @trap();
    }
}.panicked);

const Result = extern struct {
    is_error: bool,
    of: extern union {
        report: extern struct {
            verdict: Verdict,
            message: Text,
            has_adjust: bool,
            adjust: i16,
            metrics: List(Metric),
        },
        reason: Text,
    },
};

fn lower(answer: anyerror!Report) Result {
    const report = if (answer) |report| report else |problem| if (problem == error.Unanswered) unanswered else {
        const text = if (problem == error.Check) reason else @errorName(problem);
        return .{ .is_error = true, .of = .{ .reason = .of(text) } };
    };
    return .{ .is_error = false, .of = .{ .report = .{
        .verdict = report.verdict,
        .message = .of(report.message),
        .has_adjust = report.adjust != null,
        .adjust = report.adjust orelse 0,
        .metrics = .of(report.metrics.items),
    } } };
}

/// Allocates the memory for what the daemon passes to the plugin.
fn realloc(old: [*]u8, old_len: usize, alignment: usize, len: usize) callconv(.c) [*]u8 {
    std.debug.assert(alignment <= 8);
    const room = alloc.alignedAlloc(u8, .of(u64), @max(len, 1)) catch @trap();
    @memcpy(room[0..@min(old_len, len)], old[0..@min(old_len, len)]);
    return room.ptr;
}

/// Exports `check` as the plugin's check.
pub fn entry(comptime check: fn (Context) anyerror!Report) void {
    const exported = struct {
        var result: Result = undefined;

        fn run(name: [*]const u8, name_len: usize, params: [*]const Param, params_len: usize, budget_ms: u32) callconv(.c) *Result {
            comptime std.debug.assert(@sizeOf(Result) == 28);
            result = lower(check(.{ .name = name[0..name_len], .params = params[0..params_len], .budget_ms = budget_ms }));
            return &result;
        }
    };
    @export(&exported.run, .{ .name = "vouchd:check/checker@0.1.0#check" });
    @export(&realloc, .{ .name = "cabi_realloc" });
}
