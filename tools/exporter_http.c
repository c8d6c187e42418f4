/*
 * exporter_http.c - the pages of ppdb-exporter: /metrics, /-/healthy and a page that names them, through libmicrohttpd.
 *
 * One thread of the library's serves one request after the other, so the list of stores has one user. A scraper that is slow keeps a buffer, and
 * nobody else waiting. Reads no body and no query; a page is made whole before it is sent.
 */
#include "tools/exporter.h"

#include <arpa/inet.h>
#include <microhttpd.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct pp_exporter_server {
	struct MHD_Daemon *http;
	struct pp_exporter *exporter;
};

/* ---- pages ------------------------------------------------------------------------------------------------------ */

/* `text` is malloc'ed and given away. */
static enum MHD_Result answer(struct MHD_Connection *c, unsigned status, const char *type, char *text, size_t size)
{
	struct MHD_Response *r = MHD_create_response_from_buffer(size, text, MHD_RESPMEM_MUST_FREE);
	enum MHD_Result done;

	if (!r) {
		free(text);
		return MHD_NO;
	}
	MHD_add_response_header(r, MHD_HTTP_HEADER_CONTENT_TYPE, type);
	MHD_add_response_header(r, MHD_HTTP_HEADER_VARY, MHD_HTTP_HEADER_ACCEPT);
	MHD_add_response_header(r, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
	if (status == MHD_HTTP_METHOD_NOT_ALLOWED)
		MHD_add_response_header(r, MHD_HTTP_HEADER_ALLOW, "GET, HEAD");
	done = MHD_queue_response(c, status, r);
	MHD_destroy_response(r);
	return done;
}

static enum MHD_Result say(struct MHD_Connection *c, unsigned status, const char *type, const char *text)
{
	char *copy = strdup(text);

	return copy ? answer(c, status, type, copy, strlen(copy)) : MHD_NO;
}

static enum MHD_Result metrics(struct pp_exporter_server *s, struct MHD_Connection *c)
{
	enum pp_metrics_format format = pp_metrics_negotiate(MHD_lookup_connection_value(c, MHD_HEADER_KIND, MHD_HTTP_HEADER_ACCEPT));
	char *text = NULL;
	size_t size = 0;

	if (pp_exporter_scrape(s->exporter, format, &text, &size)) {
		free(text);
		return say(c, MHD_HTTP_SERVICE_UNAVAILABLE, "text/plain; charset=utf-8", "out of memory\n");
	}
	return answer(c, MHD_HTTP_OK, pp_metrics_media_type(format), text, size);
}

static const char front_page[] =
	"<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>ppdb-exporter</title></head><body>\n"
	"<h1>ppdb-exporter</h1>\n<p><a href=\"/metrics\">/metrics</a>: the metrics of ppdb stores, for Prometheus.\n"
	"<a href=\"/-/healthy\">/-/healthy</a>: whether this program serves.</p>\n</body></html>\n";

/* The library calls it once for the headers and again for the body: the answer comes the second time. */
static enum MHD_Result serve(void *cls, struct MHD_Connection *c, const char *url, const char *method, const char *version, const char *body,
	size_t *body_size, void **state)
{
	static int begun;

	(void)version;
	(void)body;
	if (strcmp(method, MHD_HTTP_METHOD_GET) && strcmp(method, MHD_HTTP_METHOD_HEAD)) {
		if (*body_size) {
			*body_size = 0;
			return MHD_YES;
		}
		if (!*state) {
			*state = &begun;
			return MHD_YES;
		}
		return say(c, MHD_HTTP_METHOD_NOT_ALLOWED, "text/plain; charset=utf-8", "GET and HEAD only\n");
	}
	if (!*state) {
		*state = &begun;
		return MHD_YES;
	}
	if (!strcmp(url, "/metrics"))
		return metrics(cls, c);
	if (!strcmp(url, "/-/healthy"))
		return say(c, MHD_HTTP_OK, "text/plain; charset=utf-8", "ok\n");
	if (!strcmp(url, "/"))
		return say(c, MHD_HTTP_OK, "text/html; charset=utf-8", front_page);
	return say(c, MHD_HTTP_NOT_FOUND, "text/plain; charset=utf-8", "there is nothing here; see /metrics\n");
}

/* ---- socket ----------------------------------------------------------------------------------------------------- */

static int parse(const char *listen, struct addrinfo **out)
{
	const char *colon = strrchr(listen, ':');
	struct addrinfo hints = {.ai_flags = AI_PASSIVE | AI_NUMERICHOST | AI_NUMERICSERV, .ai_socktype = SOCK_STREAM};
	size_t n = colon ? (size_t)(colon - listen) : 0;
	char host[64];

	if (!colon || !n || n >= sizeof(host) || !colon[1])
		return pp_detail(-EINVAL, "--listen needs an address and a port such as %s or [::1]:7732, not '%s'", PP_EXPORTER_LISTEN, listen);
	snprintf(host, sizeof(host), "%.*s", (int)n, listen);
	if (host[0] == '[' && host[n - 1] == ']') {
		host[n - 1] = '\0';
		memmove(host, host + 1, n - 1);
	}
	if (getaddrinfo(host, colon + 1, &hints, out))
		return pp_detail(-EINVAL, "--listen needs a numeric address and a port such as %s or [::1]:7732, not '%s'", PP_EXPORTER_LISTEN, listen);
	return 0;
}

static int open_socket(const char *address, int *fd)
{
	struct addrinfo *a;
	int one = 1, rc = parse(address, &a);

	if (rc)
		return rc;
	*fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (*fd < 0 || setsockopt(*fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) || bind(*fd, a->ai_addr, a->ai_addrlen) || listen(*fd, 64)) {
		rc = pp_detail(-errno, "cannot listen at %s: %s", address, strerror(errno));
		if (*fd >= 0)
			close(*fd);
	}
	freeaddrinfo(a);
	return rc;
}

static void say_where(int fd)
{
	struct sockaddr_storage at;
	socklen_t size = sizeof(at);
	char host[64], port[16];

	if (getsockname(fd, (struct sockaddr *)&at, &size) ||
		getnameinfo((struct sockaddr *)&at, size, host, sizeof(host), port, sizeof(port), NI_NUMERICHOST | NI_NUMERICSERV))
		return;
	fprintf(stderr, "ppdb-exporter: serves http://%s%s%s:%s/metrics\n", at.ss_family == AF_INET6 ? "[" : "", host, at.ss_family == AF_INET6 ? "]" : "",
		port);
}

int pp_exporter_serve(struct pp_exporter *x, const char *listen, struct pp_exporter_server **out)
{
	struct pp_exporter_server *s = calloc(1, sizeof(*s));
	int fd = -1, rc;

	if (!s)
		return -ENOMEM;
	rc = open_socket(listen, &fd);
	if (rc) {
		free(s);
		return rc;
	}
	s->exporter = x;
	s->http = MHD_start_daemon(MHD_USE_AUTO | MHD_USE_INTERNAL_POLLING_THREAD, 0, NULL, NULL, serve, s, MHD_OPTION_LISTEN_SOCKET, fd,
		MHD_OPTION_CONNECTION_LIMIT, 64u, MHD_OPTION_CONNECTION_TIMEOUT, 30u, MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)16384, MHD_OPTION_END);
	if (!s->http) {
		close(fd);
		free(s);
		return pp_detail(-EIO, "libmicrohttpd does not start");
	}
	say_where(fd);
	*out = s;
	return 0;
}

/* The socket goes with the daemon; requests under way are ended. */
void pp_exporter_end(struct pp_exporter_server *s)
{
	MHD_stop_daemon(s->http);
	free(s);
}
