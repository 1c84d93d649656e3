/// The probes of the contract. vouchd_check.h includes this file.
#ifndef VOUCHD_PROBES_H
#define VOUCHD_PROBES_H

// ---- Probes ----

typedef enum {
  /// The check has no grant for it, or a limit was exceeded. The text names the line to add to the configuration, or the limit.
  /// The run ends as an error, whatever the plugin reports.
  VOUCHD_DENIED,
  VOUCHD_TIMEOUT,
  VOUCHD_REFUSED,
  VOUCHD_UNRESOLVED,
  VOUCHD_TLS,
  /// The probe cannot be made: an argument makes no sense, a file cannot be read, or this host is at fault.
  VOUCHD_INVALID,
  VOUCHD_OTHER,
} vouchd_problem;

/// Why a probe gave no answer.
typedef struct {
  uint8_t problem;
  /// Set for denied, TLS, invalid and other.
  vouchd_text text;
} vouchd_probe_error;

/// Makes a `fail` report, `WHAT: REASON`; or an error if the probe could not be made at all.
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

// Each probe returns true and sets its reply, or returns false and sets `error`. A `timeout_ms` of 0 is the time that the run
// has left.

// The layout of `result<type, probe-error>` in the contract.
#define VOUCHD_ANSWER(type, size)                            \
  struct {                                                   \
    uint8_t is_error;                                        \
    union {                                                  \
      type reply;                                            \
      vouchd_probe_error error;                              \
    } of;                                                    \
  } answer;                                                  \
  VOUCHD_ASSERT(sizeof answer == (size), "canonical ABI")

// Returns it to the caller.
#define VOUCHD_RETURN(to)             \
  do {                                 \
    if (answer.is_error) {             \
      *error = answer.of.error;        \
      return false;                    \
    }                                  \
    *(to) = answer.of.reply;           \
    return true;                       \
  } while (0)

typedef struct {
  /// `host:port`, IPv6 in brackets.
  vouchd_text address;
  /// Sent after connecting.
  vouchd_text send;
  /// Receive until this arrives. With NULL, until `max_bytes` arrived, the peer closed, or the time is up.
  const vouchd_text *until;
  /// The most bytes to receive; 0 with `until` NULL receives nothing.
  uint32_t max_bytes;
  uint32_t timeout_ms;
} vouchd_tcp_request;

typedef struct {
  /// Microseconds that connecting took.
  uint64_t connect_us;
  vouchd_text data;
} vouchd_tcp_reply;

VOUCHD_IMPORT("tcp", "probe")
void vouchd_import_tcp_probe(const char *address, size_t address_len, const char *send, size_t send_len, int has_until,
                             const char *until, size_t until_len, uint32_t max_bytes, uint32_t timeout_ms, void *answer);

static inline bool vouchd_tcp_probe(const vouchd_tcp_request *request, vouchd_tcp_reply *reply,
                                    vouchd_probe_error *error) {
  VOUCHD_ANSWER(vouchd_tcp_reply, 24);
  vouchd_text until = request->until ? *request->until : vouchd_str("");
  vouchd_import_tcp_probe(request->address.data, request->address.len, request->send.data, request->send.len,
                          request->until != NULL, until.data, until.len, request->max_bytes, request->timeout_ms,
                          &answer);
  VOUCHD_RETURN(reply);
}

typedef struct {
  vouchd_text name, value;
} vouchd_header;

/// `vouchd_get` makes one with defaults.
typedef struct {
  vouchd_text method, url;
  const vouchd_header *headers;
  size_t headers_len;
  vouchd_text body;
  uint32_t timeout_ms, max_body_bytes;
  bool tls_verify;
  /// The server name for TLS; NULL if it is the host of the URL.
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
  VOUCHD_ANSWER(vouchd_http_response, 40);
  vouchd_text sni = request->sni ? *request->sni : vouchd_str("");
  vouchd_import_http_fetch(request->method.data, request->method.len, request->url.data, request->url.len,
                           request->headers, request->headers_len, request->body.data, request->body.len,
                           request->timeout_ms, request->max_body_bytes, request->tls_verify, request->sni != NULL,
                           sni.data, sni.len, request->follow_redirects, request->reuse_connection, &answer);
  VOUCHD_RETURN(response);
}

/// Which processes to find. All conditions that are not NULL must hold; set at least one of name, cmdline, pid_file.
typedef struct {
  const vouchd_text *name, *cmdline, *pid_file, *user;
} vouchd_process_query;

typedef struct {
  uint32_t pid;
  vouchd_text name;
  /// Milliseconds since the process started.
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

/// Finds running processes. The daemon watches them: when one ends, the check runs again at once.
static inline bool vouchd_process_find(const vouchd_process_query *query, vouchd_processes *found,
                                       vouchd_probe_error *error) {
  VOUCHD_ANSWER(vouchd_processes, 16);
  vouchd_text none = vouchd_str("");
  vouchd_text name = query->name ? *query->name : none, cmdline = query->cmdline ? *query->cmdline : none;
  vouchd_text pid_file = query->pid_file ? *query->pid_file : none, user = query->user ? *query->user : none;
  vouchd_import_process_find(query->name != NULL, name.data, name.len, query->cmdline != NULL, cmdline.data, cmdline.len,
                             query->pid_file != NULL, pid_file.data, pid_file.len, query->user != NULL, user.data,
                             user.len, &answer);
  VOUCHD_RETURN(found);
}

// ---- Files ----

typedef enum { VOUCHD_FILE, VOUCHD_DIRECTORY, VOUCHD_OTHER_FILE } vouchd_file_kind;

typedef struct {
  /// False if nothing is at that path; the rest is then not set.
  uint8_t exists;
  struct {
    /// A `vouchd_file_kind`.
    uint8_t kind;
    /// In bytes.
    uint64_t size;
    /// Milliseconds since the last modification; 0 if that lies in the future.
    uint64_t age_ms;
  } info;
} vouchd_stat_reply;

VOUCHD_IMPORT("files", "stat") void vouchd_import_files_stat(const char *path, size_t path_len, void *answer);

/// Looks at an absolute path.
static inline bool vouchd_stat(vouchd_text path, vouchd_stat_reply *reply, vouchd_probe_error *error) {
  VOUCHD_ANSWER(vouchd_stat_reply, 40);
  vouchd_import_files_stat(path.data, path.len, &answer);
  VOUCHD_RETURN(reply);
}

typedef struct {
  /// False if there is no such file.
  uint8_t exists;
  vouchd_text data;
} vouchd_read_reply;

VOUCHD_IMPORT("files", "read")
void vouchd_import_files_read(const char *path, size_t path_len, uint32_t max_bytes, void *answer);

/// Reads the first `max_bytes` of a regular file. If that is more than `limits.probe_bytes`, a file longer than that limit is
/// denied, never cut.
static inline bool vouchd_read(vouchd_text path, uint32_t max_bytes, vouchd_read_reply *reply,
                               vouchd_probe_error *error) {
  VOUCHD_ANSWER(vouchd_read_reply, 16);
  vouchd_import_files_read(path.data, path.len, max_bytes, &answer);
  VOUCHD_RETURN(reply);
}

/// The size of a file system and the room left on it, in bytes and in files.
typedef struct {
  uint64_t total;
  /// What a program without privileges can still write.
  uint64_t available;
  uint64_t inodes, inodes_available;
} vouchd_space_reply;

VOUCHD_IMPORT("files", "space") void vouchd_import_files_space(const char *path, size_t path_len, void *answer);

/// Measures the file system that holds `path`.
static inline bool vouchd_space(vouchd_text path, vouchd_space_reply *reply, vouchd_probe_error *error) {
  VOUCHD_ANSWER(vouchd_space_reply, 40);
  vouchd_import_files_space(path.data, path.len, &answer);
  VOUCHD_RETURN(reply);
}

// ---- Names, links, addresses, time ----

typedef struct {
  const vouchd_text *list;
  size_t len;
} vouchd_texts;

VOUCHD_IMPORT("dns", "resolve")
void vouchd_import_dns_resolve(const char *name, size_t name_len, uint32_t timeout_ms, void *answer);

/// Looks up a name with the host's resolver, or `NAME@SERVER` at one name server. Returns at least one address, each once.
static inline bool vouchd_resolve(vouchd_text name, uint32_t timeout_ms, vouchd_texts *addresses,
                                  vouchd_probe_error *error) {
  VOUCHD_ANSWER(vouchd_texts, 16);
  vouchd_import_dns_resolve(name.data, name.len, timeout_ms, &answer);
  VOUCHD_RETURN(addresses);
}

typedef struct {
  vouchd_text name;
  /// Whether the administrator has set it up.
  uint8_t up;
  /// Whether the cable is plugged in and the other end is up.
  uint8_t carrier;
} vouchd_link;

typedef struct {
  const vouchd_link *list;
  size_t len;
} vouchd_links_reply;

VOUCHD_ASSERT(sizeof(vouchd_link) == 12, "canonical ABI");
VOUCHD_IMPORT("network", "links") void vouchd_import_network_links(void *answer);

/// Lists the network links of the host. Needs no grant.
static inline bool vouchd_links(vouchd_links_reply *links, vouchd_probe_error *error) {
  VOUCHD_ANSWER(vouchd_links_reply, 16);
  vouchd_import_network_links(&answer);
  VOUCHD_RETURN(links);
}

typedef struct {
  vouchd_text link, ip;
  uint8_t prefix;
} vouchd_address;

typedef struct {
  const vouchd_address *list;
  size_t len;
} vouchd_addresses_reply;

VOUCHD_ASSERT(sizeof(vouchd_address) == 20, "canonical ABI");
VOUCHD_IMPORT("network", "addresses") void vouchd_import_network_addresses(void *answer);

/// Lists the addresses of the host. Needs no grant.
static inline bool vouchd_addresses(vouchd_addresses_reply *addresses, vouchd_probe_error *error) {
  VOUCHD_ANSWER(vouchd_addresses_reply, 16);
  vouchd_import_network_addresses(&answer);
  VOUCHD_RETURN(addresses);
}

/// The host's clock: Unix time in milliseconds.
VOUCHD_IMPORT("clock", "now") uint64_t vouchd_now(void);

// ---- Connections ----

/// A connection to a peer. It stays open until `vouchd_close`, at most until the end of the run. It carries at most
/// `limits.probe_bytes` each way, and a check may have `limits.connections` of them open at once.
typedef struct {
  uint32_t handle;
} vouchd_connection;

VOUCHD_IMPORT("stream", "connect-tcp")
void vouchd_import_connect_tcp(const char *address, size_t address_len, uint32_t timeout_ms, void *answer);
VOUCHD_IMPORT("stream", "connect-unix")
void vouchd_import_connect_unix(const char *path, size_t path_len, uint32_t timeout_ms, void *answer);
VOUCHD_IMPORT("stream", "[method]connection.send")
void vouchd_import_send(uint32_t handle, const char *data, size_t len, void *answer);
VOUCHD_IMPORT("stream", "[method]connection.receive")
void vouchd_import_receive(uint32_t handle, int has_until, const char *until, size_t until_len, uint32_t max_bytes,
                           uint32_t timeout_ms, void *answer);
VOUCHD_IMPORT("stream", "[method]connection.start-tls")
void vouchd_import_start_tls(uint32_t handle, const char *server_name, size_t server_name_len, int verify,
                             uint32_t timeout_ms, void *answer);
VOUCHD_IMPORT("stream", "[resource-drop]connection") void vouchd_import_drop_connection(uint32_t handle);

/// Connects to `host:port`, IPv6 in brackets.
static inline bool vouchd_connect_tcp(vouchd_text address, uint32_t timeout_ms, vouchd_connection *connection,
                                      vouchd_probe_error *error) {
  VOUCHD_ANSWER(vouchd_connection, 16);
  vouchd_import_connect_tcp(address.data, address.len, timeout_ms, &answer);
  VOUCHD_RETURN(connection);
}

/// Connects to a unix socket.
static inline bool vouchd_connect_unix(vouchd_text path, uint32_t timeout_ms, vouchd_connection *connection,
                                       vouchd_probe_error *error) {
  VOUCHD_ANSWER(vouchd_connection, 16);
  vouchd_import_connect_unix(path.data, path.len, timeout_ms, &answer);
  VOUCHD_RETURN(connection);
}

/// Sends all of `data`, in the time that the run has left.
static inline bool vouchd_send(vouchd_connection connection, vouchd_text data, vouchd_probe_error *error) {
  VOUCHD_ANSWER(uint8_t, 16);
  vouchd_import_send(connection.handle, data.data, data.len, &answer);
  if (answer.is_error) *error = answer.of.error;
  return !answer.is_error;
}

/// Receives until `until` (which may be NULL) arrives, `max_bytes` arrived, the peer closes, or the time is up. The data ends
/// with `until`; bytes after it are kept for the next call. If the peer closes, the data may be short or empty. When the time
/// is up, it is a timeout with `until`, or without any data.
static inline bool vouchd_receive(vouchd_connection connection, const vouchd_text *until, uint32_t max_bytes,
                                  uint32_t timeout_ms, vouchd_text *data, vouchd_probe_error *error) {
  VOUCHD_ANSWER(vouchd_text, 16);
  vouchd_text end = until ? *until : vouchd_str("");
  vouchd_import_receive(connection.handle, until != NULL, end.data, end.len, max_bytes, timeout_ms, &answer);
  VOUCHD_RETURN(data);
}

/// The certificate that a server presented in a TLS handshake.
typedef struct {
  /// Such as `CN=www.example.com, O=Example`.
  vouchd_text subject, issuer;
  /// The names and addresses that the certificate is for.
  vouchd_texts names;
  /// Unix time in seconds.
  int64_t not_before, not_after;
  /// Whether it could not be verified, and why.
  uint8_t has_problem;
  vouchd_text problem;
  /// `TLSv1.3` or `TLSv1.2`.
  vouchd_text protocol;
} vouchd_certificate;

/// Continues with TLS. A certificate that cannot be verified is an error with `verify`; without it, `problem` says why.
static inline bool vouchd_start_tls(vouchd_connection connection, vouchd_text server_name, bool verify,
                                    uint32_t timeout_ms, vouchd_certificate *shown, vouchd_probe_error *error) {
  VOUCHD_ANSWER(vouchd_certificate, 72);
  vouchd_import_start_tls(connection.handle, server_name.data, server_name.len, verify, timeout_ms, &answer);
  VOUCHD_RETURN(shown);
}

/// Closes the connection, which makes room for another one. It must not be used afterwards.
static inline void vouchd_close(vouchd_connection connection) { vouchd_import_drop_connection(connection.handle); }

#endif
