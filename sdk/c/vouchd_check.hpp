/// vouchd checks in C++17, on top of vouchd_check.h: texts are `std::string_view`, answers are optional, reports are built up.
///
/// Write `vouchd::Report check(const vouchd::Context &)`, and end the file with `VOUCHD_CHECK_CPP(check)`. There are no
/// exceptions (`-fno-exceptions`): for an error of the check itself return `Report::error(…)`.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "vouchd_check.h"

namespace vouchd {

inline vouchd_text text(std::string_view view) { return {view.data(), view.size()}; }
inline std::string_view view(vouchd_text text) { return {text.data, text.len}; }

enum class Verdict : uint8_t { pass = VOUCHD_PASS, warn = VOUCHD_WARN, fail = VOUCHD_FAIL, fault = VOUCHD_FAULT };

/// What a run says: about the service, or that the check itself could not be carried out.
class Report {
 public:
  static Report pass(std::string_view message) { return Report(Verdict::pass, message); }
  static Report warn(std::string_view message) { return Report(Verdict::warn, message); }
  static Report fail(std::string_view message) { return Report(Verdict::fail, message); }
  static Report fault(std::string_view message) { return Report(Verdict::fault, message); }
  static Report error(std::string_view reason) {
    return Report(vouchd_error("%.*s", static_cast<int>(reason.size()), reason.data()));
  }

  /// Of the C interface.
  explicit Report(vouchd_result result) : result_(result) {}

  /// Adds a number measured during the run; the unit is `s`, `B`, `%`, `c` (a counter), or empty.
  Report &metric(const char *name, double value, const char *unit) {
    vouchd_add_metric(&result_, name, value, unit);
    return *this;
  }

  /// Adds to the priority, as far as the operator allows.
  Report &adjust(int16_t points) {
    if (!result_.is_error) {
      result_.of.report.has_adjust = 1;
      result_.of.report.adjust = points;
    }
    return *this;
  }

  vouchd_result raw() const { return result_; }

 private:
  Report(Verdict verdict, std::string_view message)
      : result_(vouchd_say(static_cast<vouchd_verdict>(verdict), "%.*s", static_cast<int>(message.size()),
                           message.data())) {}
  vouchd_result result_;
};

/// What a probe answered, or why it did not.
template <typename Reply>
class Answer {
 public:
  Answer(const Reply &reply) : reply_(reply) {}
  Answer(const vouchd_probe_error &error) : error_(error) {}

  explicit operator bool() const { return reply_.has_value(); }
  const Reply *operator->() const { return &*reply_; }

  /// Of an answer that is none: fails, saying that `what` did not answer and why; or an error where the probe could not be
  /// made at all.
  Report or_fail(std::string_view what) const { return Report(vouchd_or_fail(&error_, text(what))); }

 private:
  std::optional<Reply> reply_;
  vouchd_probe_error error_{};
};

/// The run's parameters and probes.
class Context {
 public:
  explicit Context(const vouchd_context *raw) : raw_(raw) {}

  std::string_view name() const { return view(raw_->name); }
  uint32_t budget_ms() const { return raw_->budget_ms; }

  /// The first parameter of that name.
  std::optional<std::string_view> param(const char *key) const {
    const vouchd_text *value = vouchd_param(raw_, key);
    return value ? std::optional(view(*value)) : std::nullopt;
  }

  /// The first parameter that is none of these: most likely a typing error.
  template <typename... Known>
  std::optional<std::string_view> unknown_param(Known... known) const {
    const char *const names[] = {known..., nullptr};
    const vouchd_text *key = vouchd_unknown_param(raw_, names);
    return key ? std::optional(view(*key)) : std::nullopt;
  }

  Answer<vouchd_tcp_reply> tcp(std::string_view addr) const {
    vouchd_tcp_request request{};
    request.addr = text(addr);
    request.timeout_ms = budget_ms();
    return tcp(request);
  }

  Answer<vouchd_tcp_reply> tcp(const vouchd_tcp_request &request) const {
    vouchd_tcp_reply reply;
    vouchd_probe_error error;
    if (vouchd_tcp_probe(&request, &reply, &error)) return reply;
    return error;
  }

  Answer<vouchd_http_response> http(const vouchd_http_request &request) const {
    vouchd_http_response response;
    vouchd_probe_error error;
    if (vouchd_http_fetch(&request, &response, &error)) return response;
    return error;
  }

  Answer<vouchd_processes> find_processes(const vouchd_process_query &query) const {
    vouchd_processes found;
    vouchd_probe_error error;
    if (vouchd_process_find(&query, &found, &error)) return found;
    return error;
  }

  void log(vouchd_level level, std::string_view message) const { vouchd_log(level, text(message)); }

  /// What the last run remembered; empty at first.
  std::string_view recall() const { return view(vouchd_recall()); }

  /// For the next run, if this one ends without an error. At most 4096 bytes.
  void remember(std::string_view data) const { vouchd_remember(data.data(), data.size()); }

 private:
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
