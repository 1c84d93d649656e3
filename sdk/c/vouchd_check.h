/// vouchd checks in C: bindings of the contract ../wit/check.wit, written by hand. The probes are in vouchd_probes.h.
///
/// Include this file in one source file, write a function `vouchd_result check(const vouchd_context *)`, and end the file with
/// `VOUCHD_CHECK(check)`. All you need besides is a compiler for WebAssembly. Each run is a fresh instance with a few megabytes of
/// memory, so nothing is ever freed, and no variable survives the run.
///
/// The structs have the layout of the contract (the component model's canonical ABI); assertions verify it.
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

/// UTF-8 text, or bytes, without a terminating zero.
typedef struct {
  const char *data;
  size_t len;
} vouchd_text;

/// The arguments for `%.*s`.
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

/// Formats `%s`, `%.*s`, `%c`, `%d`, `%u` (the last two also with `l`, `ll` or `z`) and `%%`. libc's own function would link file
/// access into the plugin.
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

// ---- The context of a run ----

typedef struct {
  vouchd_text key, value;
} vouchd_param_entry;

typedef struct {
  /// The name of the check in the configuration.
  vouchd_text name;
  /// In file order. Tables are flattened (`headers.accept`); a list repeats its name.
  const vouchd_param_entry *params;
  size_t params_len;
  /// Milliseconds until the daemon ends the run.
  uint32_t budget_ms;
} vouchd_context;

/// Returns the first parameter with that name; NULL if there is none.
static inline const vouchd_text *vouchd_param(const vouchd_context *context, const char *key) {
  for (size_t i = 0; i < context->params_len; i++)
    if (vouchd_equal(context->params[i].key, vouchd_str(key))) return &context->params[i].value;
  return NULL;
}

/// Returns the name of the first parameter that is none of `known` (which ends with NULL), most likely a typing error; NULL if
/// there is none.
static inline const vouchd_text *vouchd_unknown_param(const vouchd_context *context, const char *const *known) {
  for (size_t i = 0; i < context->params_len; i++) {
    const char *const *name = known;
    while (*name && !vouchd_equal(context->params[i].key, vouchd_str(*name))) name++;
    if (*name == NULL) return &context->params[i].key;
  }
  return NULL;
}

/// How a parameter is read, and the type of the variable that stores it.
typedef enum {
  /// `vouchd_text`
  VOUCHD_TEXT,
  /// `int64_t`: a whole number.
  VOUCHD_INTEGER,
  /// `double`: a decimal number.
  VOUCHD_NUMBER,
  /// `bool`: true or false.
  VOUCHD_BOOLEAN,
  /// `uint32_t`, milliseconds: written `"500ms"`, `"2s"`, `"1m"`, `"12h"`, `"7d"`.
  VOUCHD_DURATION,
  /// Not stored: pick it from the context's `params`. For lists, and with a name such as `headers.*` for tables.
  VOUCHD_ANY,
} vouchd_kind;

typedef struct {
  const char *name;
  vouchd_kind kind;
  bool required;
  /// Not touched if the parameter is left out.
  void *into;
} vouchd_field;

/// Reads digits from `*at` on, and moves it behind them. False if there are none, or more than 18.
static inline bool vouchd_digits(vouchd_text text, size_t *at, uint64_t *number) {
  size_t begin = *at;
  *number = 0;
  for (; *at < text.len && text.data[*at] >= '0' && text.data[*at] <= '9'; ++*at)
    *number = *number * 10 + (uint64_t)(text.data[*at] - '0');
  return *at > begin && *at - begin <= 18;
}

/// Stores a text as this kind. Returns NULL, or what was expected.
static inline const char *vouchd_store(vouchd_text text, vouchd_kind kind, void *into) {
  size_t at = text.len > 0 && (text.data[0] == '-' || text.data[0] == '+');
  bool is_negative = at && text.data[0] == '-';
  uint64_t number;
  switch (kind) {
    case VOUCHD_TEXT:
      *(vouchd_text *)into = text;
      return NULL;
    case VOUCHD_INTEGER:
      if (!vouchd_digits(text, &at, &number) || at < text.len) return "a whole number";
      *(int64_t *)into = is_negative ? -(int64_t)number : (int64_t)number;
      return NULL;
    case VOUCHD_NUMBER: {
      if (!vouchd_digits(text, &at, &number)) return "a number";
      double value = (double)number;
      if (at < text.len && text.data[at] == '.') {
        size_t begin = ++at;
        if (!vouchd_digits(text, &at, &number)) return "a number";
        double part = (double)number;
        while (begin++ < at) part /= 10;
        value += part;
      }
      if (at < text.len) return "a number";
      *(double *)into = is_negative ? -value : value;
      return NULL;
    }
    case VOUCHD_BOOLEAN:
      *(bool *)into = vouchd_equal(text, vouchd_str("true"));
      return *(bool *)into || vouchd_equal(text, vouchd_str("false")) ? NULL : "true or false";
    case VOUCHD_DURATION: {
      static const struct {
        const char *name;
        uint32_t ms;
      } units[] = {{"ms", 1}, {"s", 1000}, {"m", 60 * 1000}, {"h", 3600 * 1000}, {"d", 24 * 3600 * 1000}};
      at = 0;
      if (!vouchd_digits(text, &at, &number)) return "a duration like \"500ms\"";
      while (at < text.len && text.data[at] == ' ') at++;
      vouchd_text rest = {text.data + at, text.len - at};
      for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
        if (!vouchd_equal(rest, vouchd_str(units[i].name)) || number > UINT32_MAX / units[i].ms) continue;
        *(uint32_t *)into = (uint32_t)number * units[i].ms;
        return NULL;
      }
      return "a duration like \"500ms\"";
    }
    case VOUCHD_ANY:
      break;
  }
  return NULL;
}

static inline bool vouchd_is_named(vouchd_text key, const char *name) {
  size_t len = strlen(name);
  bool is_table = len > 1 && strcmp(name + len - 2, ".*") == 0;
  if (!is_table) return vouchd_equal(key, vouchd_str(name));
  return key.len >= len - 1 && memcmp(key.data, name, len - 1) == 0;
}

// ---- The result of a run ----

/// The verdict about the service, best first.
typedef enum {
  /// The service works.
  VOUCHD_PASS,
  /// The service works, but another router would serve better.
  VOUCHD_WARN,
  /// The service does not work. What that costs is the operator's choice.
  VOUCHD_FAIL,
  /// This router must not be active, whatever the priorities.
  VOUCHD_FAULT,
} vouchd_verdict;

typedef struct {
  vouchd_text name;
  double value;
  /// `s` (seconds), `B` (bytes), `%`, `c` (a counter), or empty.
  vouchd_text unit;
} vouchd_metric;

typedef struct {
  uint8_t verdict;
  /// One line for the operator, ideally with what was expected and what was found.
  vouchd_text message;
  /// A change of the priority, applied as far as the operator allows: by default not at all.
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

/// Makes a report with this verdict and a formatted message (see `vouchd_vformat`).
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

/// Makes an error: the check could not be carried out, for instance because a parameter makes no sense. It is not a verdict about
/// the service.
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

/// Requests a change of the priority, which applies as far as the operator allows.
static inline void vouchd_adjust(vouchd_result *result, int16_t points) {
  if (result->is_error) return;
  result->of.report.has_adjust = 1;
  result->of.report.adjust = points;
}

/// Adds a metric. `name` and `unit` must live until the end of the run. An error has no metrics.
static inline void vouchd_add_metric(vouchd_result *result, const char *name, double value, const char *unit) {
  if (result->is_error) return;
  vouchd_report *report = &result->of.report;
  size_t bytes = (report->metrics_len + 1) * sizeof(vouchd_metric);
  report->metrics = (vouchd_metric *)realloc(report->metrics, bytes);
  if (report->metrics == NULL) abort();
  vouchd_metric metric = {vouchd_str(name), value, vouchd_str(unit)};
  report->metrics[report->metrics_len++] = metric;
}

/// Stores all parameters. Returns false, and sets `error`, if one is missing, unknown, given twice, or of the wrong type.
static inline bool vouchd_decode(const vouchd_context *context, const vouchd_field *fields, size_t fields_len,
                                 vouchd_result *error) {
  for (size_t i = 0; i < context->params_len; i++) {
    vouchd_text key = context->params[i].key;
    bool is_known = false;
    for (size_t f = 0; f < fields_len; f++) is_known |= vouchd_is_named(key, fields[f].name);
    if (is_known) continue;
    vouchd_buffer known = {NULL, 0, 0};
    for (size_t f = 0; f < fields_len; f++) {
      vouchd_append(&known, ", ", f == 0 ? 0 : 2);
      vouchd_append(&known, fields[f].name, strlen(fields[f].name));
    }
    *error = vouchd_error("unknown parameter `%.*s`, expected one of: %.*s", VOUCHD_ARG(key), VOUCHD_ARG(known));
    return false;
  }
  for (size_t f = 0; f < fields_len; f++) {
    size_t found = 0;
    for (size_t i = 0; i < context->params_len; i++) {
      if (!vouchd_is_named(context->params[i].key, fields[f].name)) continue;
      found++;
      if (fields[f].kind == VOUCHD_ANY) continue;
      if (found > 1) {
        *error = vouchd_error("parameter `%s`: found several values, expected one", fields[f].name);
        return false;
      }
      vouchd_text value = context->params[i].value;
      const char *expected = vouchd_store(value, fields[f].kind, fields[f].into);
      if (expected == NULL) continue;
      *error = vouchd_error("parameter `%s`: expected %s, found `%.*s`", fields[f].name, expected, VOUCHD_ARG(value));
      return false;
    }
    if (found == 0 && fields[f].required) {
      *error = vouchd_error("parameter `%s` is missing", fields[f].name);
      return false;
    }
  }
  return true;
}

#include "vouchd_probes.h"

// ---- Log and memory ----

typedef enum { VOUCHD_LOG_DEBUG, VOUCHD_LOG_INFO, VOUCHD_LOG_WARN, VOUCHD_LOG_ERROR } vouchd_level;

VOUCHD_IMPORT("log", "log") void vouchd_import_log(int level, const char *message, size_t len);
VOUCHD_IMPORT("memo", "get") void vouchd_import_memo_get(vouchd_text *answer);
VOUCHD_IMPORT("memo", "set") void vouchd_import_memo_set(const char *data, size_t len);

/// Writes a line to the daemon's log.
static inline void vouchd_log(vouchd_level level, vouchd_text message) {
  vouchd_import_log(level, message.data, message.len);
}

/// Returns what an earlier run remembered; empty at first.
static inline vouchd_text vouchd_recall(void) {
  vouchd_text data;
  vouchd_import_memo_get(&data);
  return data;
}

/// Keeps up to 4096 bytes for the next run, if this one ends without an error. More make the run an error.
static inline void vouchd_remember(const void *data, size_t len) { vouchd_import_memo_set((const char *)data, len); }

/// Ends the run with an error that has these last words.
__attribute__((format(printf, 1, 2), noreturn)) static inline void vouchd_panic(const char *format, ...) {
  va_list args;
  va_start(args, format);
  vouchd_log(VOUCHD_LOG_ERROR, vouchd_vformat(format, args));
  abort();
}

// ---- Entry ----

/// Exports `function` as the plugin's check, and the allocator for what the daemon passes to it.
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
