//! vouchd checks in Zig: the contract of ../wit/check.wit, bound by hand. No libc, no WASI.
//!
//! Write `fn check(ctx: Context) !Report`, and put `comptime { vouchd.entry(check); }` beside it. An error that the check
//! returns is an error of the check itself; `fail` says why in words. Each run is a fresh instance, so nothing is freed.
//! With `pub const panic = vouchd.panic;` in the root file the words of a panic reach the daemon.
//!
//! The layout of the extern structs is the contract's own (the component model's canonical ABI).

const std = @import("std");
const builtin = @import("builtin");
const params_of = @import("vouchd_params.zig");
const probes = @import("vouchd_probes.zig");

/// Nothing is ever freed. Elsewhere than in WebAssembly tests run.
pub const alloc = if (builtin.cpu.arch.isWasm()) std.heap.wasm_allocator else std.heap.page_allocator;

/// `Check`: the check could not be carried out. `Unanswered`: a probe was not answered, which is a `fail`.
pub const Error = error{ Check, Unanswered, OutOfMemory };

/// Why, in the words of `fail`.
pub var reason: []const u8 = "";

/// The check could not be carried out, for this reason. Not a verdict about the service.
pub fn fail(comptime format: []const u8, args: anytype) Error {
    reason = try std.fmt.allocPrint(alloc, format, args);
    return error.Check;
}

/// A text or a list as the contract lays it out.
pub fn List(comptime T: type) type {
    return extern struct {
        ptr: [*]const T,
        len: usize,

        pub fn of(items: []const T) @This() {
            // The pointer of an empty slice may lie outside of memory, which the daemon takes for a fault.
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
    /// Name of the check in the configuration.
    name: []const u8,
    params: []const Param,
    /// Milliseconds left before the run is ended.
    budget_ms: u32,

    /// All parameters as a struct whose fields have their names; those without a default have to be there, and others are
    /// refused. Fields are of type `[]const u8`, `bool`, an integer, a float, `Duration` (written `"500ms"`, `"7d"`), an optional
    /// or a slice of those, `Table`, or another struct, which is a table too.
    pub fn decode(self: Context, comptime Params: type) Error!Params {
        return params_of.decode(Params, self.params);
    }

    /// The first parameter of that name.
    pub fn param(self: Context, key: []const u8) ?[]const u8 {
        for (self.params) |given| {
            if (std.mem.eql(u8, given.key.slice(), key)) return given.value.slice();
        }
        return null;
    }

    /// An error if there is a parameter that is none of `known`: most likely a typing error.
    pub fn allowParams(self: Context, known: []const []const u8) Error!void {
        for (self.params) |given| {
            for (known) |name| {
                if (std.mem.eql(u8, given.key.slice(), name)) break;
            } else return fail("unknown parameter `{s}`", .{given.key.slice()});
        }
    }
};

/// What a run says that ends with `Unanswered`.
pub var unanswered: Report = undefined;

pub const Verdict = enum(u8) {
    pass,
    /// Works, but another router would serve better.
    warn,
    fail,
    /// This router must not be active, whatever it costs.
    fault,
};

const Metric = extern struct { name: Text, value: f64, unit: Text };

pub const Report = struct {
    verdict: Verdict,
    /// One line, at best with what was expected and what was found.
    message: []const u8,
    /// A wish for the priority; off unless the operator allows a range.
    adjust: ?i16 = null,
    metrics: std.ArrayList(Metric) = .empty,

    pub fn init(verdict: Verdict, comptime format: []const u8, args: anytype) Error!Report {
        return .{ .verdict = verdict, .message = try std.fmt.allocPrint(alloc, format, args) };
    }

    /// A number measured during the run; the unit is `s`, `B`, `%`, `c` (a counter), or empty.
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

/// What the last run remembered; empty at first.
pub fn recall() []const u8 {
    var data: Text = undefined;
    memo.get(&data);
    return data.slice();
}

/// For the next run, if this one ends without an error. At most 4096 bytes; more makes the run an error.
pub fn remember(data: []const u8) void {
    memo.set(Text.of(data).ptr, data.len);
}

pub const Level = enum(u32) { debug, info, warn, err };

const logger = struct {
    extern "vouchd:check/log@0.1.0" fn log(level: Level, message: [*]const u8, len: usize) void;
};

/// A line for the daemon's log.
pub fn log(level: Level, message: []const u8) void {
    logger.log(level, Text.of(message).ptr, message.len);
}

/// For the root file: `pub const panic = vouchd.panic;`. A panic ends the run with an error whose last words are its own.
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

/// Where the daemon puts what it hands over.
fn realloc(old: [*]u8, old_len: usize, alignment: usize, len: usize) callconv(.c) [*]u8 {
    std.debug.assert(alignment <= 8);
    const room = alloc.alignedAlloc(u8, .of(u64), @max(len, 1)) catch @trap();
    @memcpy(room[0..@min(old_len, len)], old[0..@min(old_len, len)]);
    return room.ptr;
}

/// Makes `check` the plugin's entry.
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
