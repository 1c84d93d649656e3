/// vouchd checks in C: the contract of ../wit/check.wit in one header, bound by hand.
///
/// Include it in one file, write a function `vouchd_result check(const vouchd_context *)`, and end the file with
/// `VOUCHD_CHECK(check)`. That and a compiler for WebAssembly is all. Each run is a fresh instance with at most some megabytes, so
/// nothing here is ever freed.
///
/// The layout of the structs is the contract's own (the component model's canonical ABI), which is asserted.
#ifndef VOUCHD_CHECK_H
#define VOUCHD_CHECK_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#ifdef __cplusplus
extern "C" {
#define VOUCHD_ASSERT static_assert
#else
#define VOUCHD_ASSERT _Static_assert
#endif

#define VOUCHD_IMPORT(interface, function) \
  __attribute__((import_module("vouchd:check/" interface "@0.1.0"), import_name(function)))
#define VOUCHD_EXPORT(symbol) __attribute__((export_name(symbol), used))

// ---- Texts and bytes ----

/// UTF-8, or bytes; not terminated by a zero.
typedef struct {
  const char *data;
  size_t len;
} vouchd_text;

/// For `%.*s`.
#define VOUCHD_ARG(text) (int)(text).len, (text).data

static inline vouchd_text vouchd_str(const char *terminated) {
  vouchd_text text = {terminated, strlen(terminated)};
  return text;
}

static inline bool vouchd_equal(vouchd_text a, vouchd_text b) {
  return a.len == b.len && memcmp(a.data, b.data, a.len) == 0;
}

/// A text that grows.
typedef struct {
  char *data;
  size_t len, room;
} vouchd_buffer;

static inline void vouchd_append(vouchd_buffer *buffer, const char *data, size_t len) {
  if (buffer->len + len > buffer->room) {
    buffer->room = (buffer->len + len) * 2 + 64;
    buffer->data = (char *)realloc(buffer->data, buffer->room);
    if (buffer->data == NULL) abort();
  }
  memcpy(buffer->data + buffer->len, data, len);
  buffer->len += len;
}

static inline void vouchd_append_number(vouchd_buffer *buffer, uint64_t number, bool negative) {
  char digits[24];
  size_t at = sizeof digits;
  do digits[--at] = (char)('0' + number % 10);
  while (number /= 10);
  if (negative) digits[--at] = '-';
  vouchd_append(buffer, digits + at, sizeof digits - at);
}

/// `%s`, `%.*s`, `%c`, `%d`, `%u` (both also with `l`, `ll` or `z`) and `%%`. Not libc's: that one drags files in.
static inline vouchd_text vouchd_vformat(const char *format, va_list args) {
  vouchd_buffer buffer = {NULL, 0, 0};
  for (; *format; format++) {
    if (*format != '%') {
      vouchd_append(&buffer, format, 1);
      continue;
    }
    format++;
    bool is_cut = strncmp(format, ".*", 2) == 0;
    size_t cut = is_cut ? (size_t)va_arg(args, int) : 0;
    if (is_cut) format += 2;
    int longs = 0;
    for (; *format == 'l' || *format == 'z'; format++) longs++;
    if (*format == 's') {
      const char *text = va_arg(args, const char *);
      vouchd_append(&buffer, text, is_cut ? cut : strlen(text));
    } else if (*format == 'd') {
      int64_t number = longs > 1 ? va_arg(args, long long) : va_arg(args, int);
      vouchd_append_number(&buffer, number < 0 ? 0 - (uint64_t)number : (uint64_t)number, number < 0);
    } else if (*format == 'u') {
      vouchd_append_number(&buffer, longs > 1 ? va_arg(args, unsigned long long) : va_arg(args, unsigned), false);
    } else if (*format == 'c') {
      char letter = (char)va_arg(args, int);
      vouchd_append(&buffer, &letter, 1);
    } else if (*format == '%') {
      vouchd_append(&buffer, format, 1);
    } else {
      abort();
    }
  }
  vouchd_text text = {buffer.data, buffer.len};
  return text;
}

__attribute__((format(printf, 1, 2))) static inline vouchd_text vouchd_format(const char *format, ...) {
  va_list args;
  va_start(args, format);
  vouchd_text text = vouchd_vformat(format, args);
  va_end(args);
  return text;
}

// ---- What a run is given ----

typedef struct {
  vouchd_text key, value;
} vouchd_param_entry;

typedef struct {
  /// Name of the check in the configuration.
  vouchd_text name;
  /// In file order. Tables are flattened (`headers.accept`); a list is its name repeated.
  const vouchd_param_entry *params;
  size_t params_len;
  /// Milliseconds left before the run is ended.
  uint32_t budget_ms;
} vouchd_context;

/// The first parameter of that name; NULL where it was not given.
static inline const vouchd_text *vouchd_param(const vouchd_context *context, const char *key) {
  for (size_t i = 0; i < context->params_len; i++)
    if (vouchd_equal(context->params[i].key, vouchd_str(key))) return &context->params[i].value;
  return NULL;
}

/// The first parameter that is none of `known` (which ends with NULL): most likely a typing error. NULL where there is none.
static inline const vouchd_text *vouchd_unknown_param(const vouchd_context *context, const char *const *known) {
  for (size_t i = 0; i < context->params_len; i++) {
    const char *const *name = known;
    while (*name && !vouchd_equal(context->params[i].key, vouchd_str(*name))) name++;
    if (*name == NULL) return &context->params[i].key;
  }
  return NULL;
}

// ---- What a run says ----

typedef enum {
  VOUCHD_PASS,
  /// Works, but another router would serve better.
  VOUCHD_WARN,
  VOUCHD_FAIL,
  /// This router must not be active, whatever it costs.
  VOUCHD_FAULT,
} vouchd_verdict;

typedef struct {
  vouchd_text name;
  double value;
  /// `s`, `B`, `%`, `c` (a counter), or empty.
  vouchd_text unit;
} vouchd_metric;

typedef struct {
  uint8_t verdict;
  /// One line, at best with what was expected and what was found.
  vouchd_text message;
  /// A wish for the priority; off unless the operator allows a range.
  uint8_t has_adjust;
  int16_t adjust;
  vouchd_metric *metrics;
  size_t metrics_len;
} vouchd_report;

/// A report about the service, or an error of the check itself.
typedef struct {
  uint8_t is_error;
  union {
    vouchd_report report;
    vouchd_text error;
  } of;
} vouchd_result;

VOUCHD_ASSERT(sizeof(void *) == 4, "compile for wasm32");
VOUCHD_ASSERT(sizeof(vouchd_metric) == 24 && offsetof(vouchd_metric, unit) == 16, "canonical ABI");
VOUCHD_ASSERT(sizeof(vouchd_report) == 24 && offsetof(vouchd_report, adjust) == 14, "canonical ABI");
VOUCHD_ASSERT(sizeof(vouchd_result) == 28 && offsetof(vouchd_result, of) == 4, "canonical ABI");

/// What the service is like, with a message as by `vouchd_vformat`.
__attribute__((format(printf, 2, 3))) static inline vouchd_result vouchd_say(vouchd_verdict verdict, const char *format,
                                                                             ...) {
  va_list args;
  va_start(args, format);
  vouchd_result result;
  memset(&result, 0, sizeof result);
  result.of.report.verdict = (uint8_t)verdict;
  result.of.report.message = vouchd_vformat(format, args);
  va_end(args);
  return result;
}

/// The check could not be carried out, for instance because a parameter makes no sense. Not a verdict about the service.
__attribute__((format(printf, 1, 2))) static inline vouchd_result vouchd_error(const char *format, ...) {
  va_list args;
  va_start(args, format);
  vouchd_result result;
  memset(&result, 0, sizeof result);
  result.is_error = 1;
  result.of.error = vouchd_vformat(format, args);
  va_end(args);
  return result;
}

/// Adds a number measured during the run. `name` and `unit` must outlive the run; an error has no metrics.
static inline void vouchd_add_metric(vouchd_result *result, const char *name, double value, const char *unit) {
  if (result->is_error) return;
  vouchd_report *report = &result->of.report;
  size_t bytes = (report->metrics_len + 1) * sizeof(vouchd_metric);
  report->metrics = (vouchd_metric *)realloc(report->metrics, bytes);
  if (report->metrics == NULL) abort();
  vouchd_metric metric = {vouchd_str(name), value, vouchd_str(unit)};
  report->metrics[report->metrics_len++] = metric;
}

// ---- Probes ----

typedef enum {
  /// Not granted to this check; the text names the line to add to the configuration.
  VOUCHD_DENIED,
  VOUCHD_TIMEOUT,
  VOUCHD_REFUSED,
  VOUCHD_UNRESOLVED,
  VOUCHD_TLS,
  /// The probe can't be made: an argument makes no sense.
  VOUCHD_INVALID,
  VOUCHD_OTHER,
} vouchd_problem;

/// Why a probe gave no answer.
typedef struct {
  uint8_t problem;
  /// Set for denied, TLS, invalid and other.
  vouchd_text text;
} vouchd_probe_error;

/// Fails, saying that `what` did not answer and why; or an error where the probe could not be made at all.
static inline vouchd_result vouchd_or_fail(const vouchd_probe_error *error, vouchd_text what) {
  switch ((vouchd_problem)error->problem) {
    case VOUCHD_DENIED:
    case VOUCHD_INVALID:
      return vouchd_error("%.*s", VOUCHD_ARG(error->text));
    case VOUCHD_TIMEOUT:
      return vouchd_say(VOUCHD_FAIL, "%.*s: no answer in time", VOUCHD_ARG(what));
    case VOUCHD_REFUSED:
      return vouchd_say(VOUCHD_FAIL, "%.*s: connection refused", VOUCHD_ARG(what));
    case VOUCHD_UNRESOLVED:
      return vouchd_say(VOUCHD_FAIL, "%.*s: the name does not resolve", VOUCHD_ARG(what));
    case VOUCHD_TLS:
      return vouchd_say(VOUCHD_FAIL, "%.*s: TLS: %.*s", VOUCHD_ARG(what), VOUCHD_ARG(error->text));
    case VOUCHD_OTHER:
      break;
  }
  return vouchd_say(VOUCHD_FAIL, "%.*s: %.*s", VOUCHD_ARG(what), VOUCHD_ARG(error->text));
}

// Each probe is answered with true and `reply`, or with false and `error`.

typedef struct {
  /// `host:port`, IPv6 in brackets.
  vouchd_text addr;
  /// Sent after connecting.
  vouchd_text send;
  /// Read until this is seen; NULL for whatever comes.
  const vouchd_text *until;
  /// 0 with `until` NULL reads nothing.
  uint32_t max_bytes;
  uint32_t timeout_ms;
} vouchd_tcp_request;

typedef struct {
  /// Microseconds that connecting took.
  uint64_t connect_us;
  vouchd_text data;
} vouchd_tcp_reply;

VOUCHD_IMPORT("tcp", "probe")
void vouchd_import_tcp_probe(const char *addr, size_t addr_len, const char *send, size_t send_len, int has_until,
                             const char *until, size_t until_len, uint32_t max_bytes, uint32_t timeout_ms, void *answer);

static inline bool vouchd_tcp_probe(const vouchd_tcp_request *request, vouchd_tcp_reply *reply,
                                    vouchd_probe_error *error) {
  struct {
    uint8_t is_error;
    union {
      vouchd_tcp_reply reply;
      vouchd_probe_error error;
    } of;
  } answer;
  VOUCHD_ASSERT(sizeof answer == 24, "canonical ABI");
  vouchd_text until = request->until ? *request->until : vouchd_str("");
  vouchd_import_tcp_probe(request->addr.data, request->addr.len, request->send.data, request->send.len,
                          request->until != NULL, until.data, until.len, request->max_bytes, request->timeout_ms,
                          &answer);
  if (answer.is_error) {
    *error = answer.of.error;
    return false;
  }
  *reply = answer.of.reply;
  return true;
}

typedef struct {
  vouchd_text name, value;
} vouchd_header;

/// `vouchd_get` gives one with defaults.
typedef struct {
  vouchd_text method, url;
  const vouchd_header *headers;
  size_t headers_len;
  vouchd_text body;
  uint32_t timeout_ms, max_body_bytes;
  bool tls_verify;
  /// The server name for TLS where it is not the URL's, else NULL.
  const vouchd_text *sni;
  uint8_t follow_redirects;
  bool reuse_connection;
} vouchd_http_request;

typedef struct {
  uint16_t status;
  const vouchd_header *headers;
  size_t headers_len;
  vouchd_text body;
  uint64_t total_us;
} vouchd_http_response;

static inline vouchd_http_request vouchd_get(vouchd_text url, uint32_t timeout_ms) {
  vouchd_http_request request;
  memset(&request, 0, sizeof request);
  request.method = vouchd_str("GET");
  request.url = url;
  request.timeout_ms = timeout_ms;
  request.max_body_bytes = 64 << 10;
  request.tls_verify = true;
  return request;
}

VOUCHD_IMPORT("http", "fetch")
void vouchd_import_http_fetch(const char *method, size_t method_len, const char *url, size_t url_len,
                              const vouchd_header *headers, size_t headers_len, const char *body, size_t body_len,
                              uint32_t timeout_ms, uint32_t max_body_bytes, int tls_verify, int has_sni, const char *sni,
                              size_t sni_len, int follow_redirects, int reuse_connection, void *answer);

static inline bool vouchd_http_fetch(const vouchd_http_request *request, vouchd_http_response *response,
                                     vouchd_probe_error *error) {
  struct {
    uint8_t is_error;
    union {
      vouchd_http_response response;
      vouchd_probe_error error;
    } of;
  } answer;
  VOUCHD_ASSERT(sizeof answer == 40, "canonical ABI");
  vouchd_text sni = request->sni ? *request->sni : vouchd_str("");
  vouchd_import_http_fetch(request->method.data, request->method.len, request->url.data, request->url.len,
                           request->headers, request->headers_len, request->body.data, request->body.len,
                           request->timeout_ms, request->max_body_bytes, request->tls_verify, request->sni != NULL,
                           sni.data, sni.len, request->follow_redirects, request->reuse_connection, &answer);
  if (answer.is_error) {
    *error = answer.of.error;
    return false;
  }
  *response = answer.of.response;
  return true;
}

/// All that is set must hold; set at least one of name, cmdline, pid_file. NULL: not asked for.
typedef struct {
  const vouchd_text *name, *cmdline, *pid_file, *user;
} vouchd_process_query;

typedef struct {
  uint32_t pid;
  vouchd_text name;
  /// Milliseconds since it started.
  uint64_t age_ms;
} vouchd_process;

typedef struct {
  const vouchd_process *list;
  size_t len;
} vouchd_processes;

VOUCHD_IMPORT("process", "find")
void vouchd_import_process_find(int has_name, const char *name, size_t name_len, int has_cmdline, const char *cmdline,
                                size_t cmdline_len, int has_pid_file, const char *pid_file, size_t pid_file_len,
                                int has_user, const char *user, size_t user_len, void *answer);

/// Running processes. They are watched from then on: when one ends, the check runs again at once.
static inline bool vouchd_process_find(const vouchd_process_query *query, vouchd_processes *found,
                                       vouchd_probe_error *error) {
  struct {
    uint8_t is_error;
    union {
      vouchd_processes found;
      vouchd_probe_error error;
    } of;
  } answer;
  VOUCHD_ASSERT(sizeof answer == 16, "canonical ABI");
  vouchd_text none = vouchd_str("");
  vouchd_text name = query->name ? *query->name : none, cmdline = query->cmdline ? *query->cmdline : none;
  vouchd_text pid_file = query->pid_file ? *query->pid_file : none, user = query->user ? *query->user : none;
  vouchd_import_process_find(query->name != NULL, name.data, name.len, query->cmdline != NULL, cmdline.data, cmdline.len,
                             query->pid_file != NULL, pid_file.data, pid_file.len, query->user != NULL, user.data,
                             user.len, &answer);
  if (answer.is_error) {
    *error = answer.of.error;
    return false;
  }
  *found = answer.of.found;
  return true;
}

// ---- Log and memory ----

typedef enum { VOUCHD_LOG_DEBUG, VOUCHD_LOG_INFO, VOUCHD_LOG_WARN, VOUCHD_LOG_ERROR } vouchd_level;

VOUCHD_IMPORT("log", "log") void vouchd_import_log(int level, const char *message, size_t len);
VOUCHD_IMPORT("memo", "get") void vouchd_import_memo_get(vouchd_text *answer);
VOUCHD_IMPORT("memo", "set") void vouchd_import_memo_set(const char *data, size_t len);

/// A line for the daemon's log.
static inline void vouchd_log(vouchd_level level, vouchd_text message) {
  vouchd_import_log(level, message.data, message.len);
}

/// What the last run remembered; empty at first.
static inline vouchd_text vouchd_recall(void) {
  vouchd_text data;
  vouchd_import_memo_get(&data);
  return data;
}

/// For the next run, if this one ends without an error. At most 4096 bytes.
static inline void vouchd_remember(const void *data, size_t len) { vouchd_import_memo_set((const char *)data, len); }

// ---- Entry ----

/// Where the daemon puts what it hands over.
#define VOUCHD_CHECK(function)                                                                                      \
  VOUCHD_EXPORT("cabi_realloc") void *vouchd_export_realloc(void *old, size_t, size_t, size_t);                     \
  void *vouchd_export_realloc(void *old, size_t old_len, size_t align, size_t len) {                                \
    (void)old_len;                                                                                                  \
    if (len == 0) return (void *)align;                                                                             \
    void *data = realloc(old, len);                                                                                 \
    if (data == NULL) abort();                                                                                      \
    return data;                                                                                                    \
  }                                                                                                                 \
  VOUCHD_EXPORT("vouchd:check/checker@0.1.0#check")                                                                 \
  vouchd_result *vouchd_export_check(const char *, size_t, const vouchd_param_entry *, size_t, uint32_t);           \
  vouchd_result *vouchd_export_check(const char *name, size_t name_len, const vouchd_param_entry *params,           \
                                     size_t params_len, uint32_t budget_ms) {                                       \
    static vouchd_result result;                                                                                    \
    vouchd_context context = {{name, name_len}, params, params_len, budget_ms};                                     \
    result = function(&context);                                                                                    \
    return &result;                                                                                                 \
  }

#ifdef __cplusplus
}
#endif
#endif
