/// vouchd checks in C++17, on top of vouchd_check.h: texts are `std::string_view`, answers are like `std::optional`, and
/// reports are built step by step.
///
/// Write `vouchd::Report check(const vouchd::Context &)`, and end the file with `VOUCHD_CHECK_CPP(check)`. There are no
/// exceptions (`-fno-exceptions`): to report an error of the check, return `Report::error(…)`.
#pragma once

#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "vouchd_check.h"

namespace vouchd {

inline vouchd_text text(std::string_view view) { return {view.data(), view.size()}; }
inline std::string_view view(vouchd_text text) { return {text.data, text.len}; }

enum class Verdict : uint8_t { pass = VOUCHD_PASS, warn = VOUCHD_WARN, fail = VOUCHD_FAIL, fault = VOUCHD_FAULT };

/// The result of a run: a report about the service, or an error of the check.
class Report {
 public:
  static Report pass(std::string_view message) { return Report(Verdict::pass, message); }
  static Report warn(std::string_view message) { return Report(Verdict::warn, message); }
  static Report fail(std::string_view message) { return Report(Verdict::fail, message); }
  static Report fault(std::string_view message) { return Report(Verdict::fault, message); }
  static Report error(std::string_view reason) {
    return Report(vouchd_error("%.*s", static_cast<int>(reason.size()), reason.data()));
  }

  /// From a result of the C interface.
  explicit Report(vouchd_result result) : result_(result) {}

  /// Adds a metric. The unit is `s` (seconds), `B` (bytes), `%`, `c` (a counter), or empty.
  Report &metric(const char *name, double value, const char *unit) {
    vouchd_add_metric(&result_, name, value, unit);
    return *this;
  }

  /// Requests a change of the priority, which applies as far as the operator allows.
  Report &adjust(int16_t points) {
    vouchd_adjust(&result_, points);
    return *this;
  }

  vouchd_result raw() const { return result_; }

 private:
  Report(Verdict verdict, std::string_view message)
      : result_(vouchd_say(static_cast<vouchd_verdict>(verdict), "%.*s", static_cast<int>(message.size()),
                           message.data())) {}
  vouchd_result result_;
};

/// The answer to a probe, or why there is none.
template <typename Reply>
class Answer {
 public:
  Answer(Reply reply) : reply_(std::move(reply)) {}
  Answer(const vouchd_probe_error &error) : error_(error) {}

  explicit operator bool() const { return reply_.has_value(); }
  Reply *operator->() { return &*reply_; }
  const Reply *operator->() const { return &*reply_; }
  Reply &operator*() { return *reply_; }
  const Reply &operator*() const { return *reply_; }

  /// Without an answer: returns a `fail` report, `WHAT: REASON`; or an error if the probe could not be made at all.
  Report or_fail(std::string_view what) const { return Report(vouchd_or_fail(&error_, text(what))); }

 private:
  std::optional<Reply> reply_;
  vouchd_probe_error error_{};
};

/// Calls a function of the C interface whose answer is a `Reply`.
template <typename Reply, typename Function, typename... Arguments>
Answer<Reply> ask(Function function, Arguments... arguments) {
  Reply reply;
  vouchd_probe_error error;
  if (function(arguments..., &reply, &error)) return reply;
  return error;
}

/// A connection, which its destructor closes. It carries at most `limits.probe_bytes` each way, and a check may have
/// `limits.connections` of them open at once.
class Connection {
 public:
  explicit Connection(vouchd_connection raw) : raw_(raw) {}
  Connection(Connection &&other) : raw_(std::exchange(other.raw_, vouchd_connection{0})) {}
  Connection &operator=(Connection &&other) {
    std::swap(raw_, other.raw_);
    return *this;
  }
  ~Connection() {
    if (raw_.handle != 0) vouchd_close(raw_);
  }

  /// Sends all of `data`, in the time that the run has left. The answer is its length.
  Answer<size_t> send(std::string_view data) const {
    vouchd_probe_error error;
    if (vouchd_send(raw_, text(data), &error)) return data.size();
    return error;
  }

  /// Receives until `max_bytes` arrived, the peer closed, or the time is up, and returns what has arrived: less than
  /// `max_bytes`, or nothing, if the peer closed. A timeout if nothing arrived in time. A `timeout_ms` of 0 is the time that
  /// the run has left.
  Answer<std::string_view> receive(uint32_t max_bytes, uint32_t timeout_ms = 0) const {
    return received(nullptr, max_bytes, timeout_ms);
  }

  /// Receives up to and including `until`. Bytes after it are kept for the next call. Returns less if `max_bytes` arrived first, or
  /// the peer closed.
  Answer<std::string_view> receive_until(std::string_view until, uint32_t max_bytes, uint32_t timeout_ms = 0) const {
    vouchd_text end = text(until);
    return received(&end, max_bytes, timeout_ms);
  }

  /// Continues with TLS. A certificate that cannot be verified is an error with `verify`; without it, `problem` says why.
  Answer<vouchd_certificate> start_tls(std::string_view server_name, bool verify = true, uint32_t timeout_ms = 0) const {
    return ask<vouchd_certificate>(vouchd_start_tls, raw_, text(server_name), verify, timeout_ms);
  }

 private:
  Answer<std::string_view> received(const vouchd_text *until, uint32_t max_bytes, uint32_t timeout_ms) const {
    vouchd_text data;
    vouchd_probe_error error;
    if (vouchd_receive(raw_, until, max_bytes, timeout_ms, &data, &error)) return view(data);
    return error;
  }

  vouchd_connection raw_;
};

/// The context of a run: its parameters, its time, and the probes.
class Context {
 public:
  explicit Context(const vouchd_context *raw) : raw_(raw) {}

  std::string_view name() const { return view(raw_->name); }
  uint32_t budget_ms() const { return raw_->budget_ms; }

  /// Returns the first parameter with that name.
  std::optional<std::string_view> param(const char *key) const {
    const vouchd_text *value = vouchd_param(raw_, key);
    return value ? std::optional(view(*value)) : std::nullopt;
  }

  /// Returns the name of the first parameter that is none of these, most likely a typing error.
  template <typename... Known>
  std::optional<std::string_view> unknown_param(Known... known) const {
    const char *const names[] = {known..., nullptr};
    const vouchd_text *key = vouchd_unknown_param(raw_, names);
    return key ? std::optional(view(*key)) : std::nullopt;
  }

  /// Stores all parameters, like `vouchd_decode`. Returns an error report if one is wrong.
  std::optional<Report> decode(std::initializer_list<vouchd_field> fields) const {
    vouchd_result error;
    if (vouchd_decode(raw_, fields.begin(), fields.size(), &error)) return std::nullopt;
    return Report(error);
  }

  const vouchd_param_entry *begin() const { return raw_->params; }
  const vouchd_param_entry *end() const { return raw_->params + raw_->params_len; }

  // ---- Probes; vouchd_probes.h describes their requests and answers. ----

  /// Connects, and neither sends nor receives.
  Answer<vouchd_tcp_reply> tcp(std::string_view address) const {
    vouchd_tcp_request request{};
    request.address = text(address);
    return tcp(request);
  }

  Answer<vouchd_tcp_reply> tcp(const vouchd_tcp_request &request) const {
    return ask<vouchd_tcp_reply>(vouchd_tcp_probe, &request);
  }

  Answer<vouchd_http_response> http(const vouchd_http_request &request) const {
    return ask<vouchd_http_response>(vouchd_http_fetch, &request);
  }

  Answer<vouchd_processes> find_processes(const vouchd_process_query &query) const {
    return ask<vouchd_processes>(vouchd_process_find, &query);
  }

  /// Looks at an absolute path; `exists` is false if nothing is there.
  Answer<vouchd_stat_reply> stat(std::string_view path) const { return ask<vouchd_stat_reply>(vouchd_stat, text(path)); }

  /// Reads the first `max_bytes` of a regular file; `exists` is false if there is no such file.
  Answer<vouchd_read_reply> read(std::string_view path, uint32_t max_bytes) const {
    return ask<vouchd_read_reply>(vouchd_read, text(path), max_bytes);
  }

  /// Measures the file system that holds `path`.
  Answer<vouchd_space_reply> space(std::string_view path) const {
    return ask<vouchd_space_reply>(vouchd_space, text(path));
  }

  /// Looks up a name, or `NAME@SERVER` at one name server. Returns at least one address.
  Answer<vouchd_texts> resolve(std::string_view name, uint32_t timeout_ms = 0) const {
    return ask<vouchd_texts>(vouchd_resolve, text(name), timeout_ms);
  }

  Answer<vouchd_links_reply> links() const { return ask<vouchd_links_reply>(vouchd_links); }
  Answer<vouchd_addresses_reply> addresses() const { return ask<vouchd_addresses_reply>(vouchd_addresses); }

  /// Opens a connection to `host:port`, IPv6 in brackets.
  Answer<Connection> connect_tcp(std::string_view address, uint32_t timeout_ms = 0) const {
    return connected(vouchd_connect_tcp, address, timeout_ms);
  }

  /// Opens a connection to a unix socket.
  Answer<Connection> connect_unix(std::string_view path, uint32_t timeout_ms = 0) const {
    return connected(vouchd_connect_unix, path, timeout_ms);
  }

  /// The host's clock: Unix time in milliseconds.
  uint64_t now() const { return vouchd_now(); }

  void log(vouchd_level level, std::string_view message) const { vouchd_log(level, text(message)); }

  /// Returns what an earlier run remembered; empty at first.
  std::string_view recall() const { return view(vouchd_recall()); }

  /// Keeps up to 4096 bytes for the next run, if this one ends without an error. More make the run an error.
  void remember(std::string_view data) const { vouchd_remember(data.data(), data.size()); }

 private:
  template <typename Function>
  static Answer<Connection> connected(Function function, std::string_view where, uint32_t timeout_ms) {
    vouchd_connection raw;
    vouchd_probe_error error;
    if (function(text(where), timeout_ms, &raw, &error)) return Connection(raw);
    return error;
  }

  const vouchd_context *raw_;
};

}  // namespace vouchd

#define VOUCHD_CHECK_CPP(function)                                       \
  static vouchd_result vouchd_call_check(const vouchd_context *context) { \
    return function(vouchd::Context(context)).raw();                     \
  }                                                                      \
  extern "C" {                                                           \
  VOUCHD_CHECK(vouchd_call_check)                                        \
  }
