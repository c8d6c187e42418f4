/*
 * monitoring.c - the files of tools/monitoring fit together with what a store really says: every metric that the dashboard and the alerts name
 * is there, every query is one that Prometheus reads, and every alert fires when it must and stays silent when it must.
 */
#include "tests/lib/scrape.h"
#include "tests/lib/store.h"

#include <criterion/criterion.h>
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

TestSuite(monitoring, .fini = test_stores_end, .timeout = 300);

#define DIR "tools/monitoring/"

static struct test_store s;
static char metrics[1 << 20], text[1 << 20], out[1 << 16];

/* What a line of shell prints, to `to`. */
static void shell(const char *line, char *to, size_t cap)
{
	FILE *f = popen(line, "r");
	size_t n = f ? fread(to, 1, cap - 1, f) : 0;

	to[n] = '\0';
	test_require(f && !pclose(f) && n, "%s gave nothing", line);
}

static unsigned count(const char *in, const char *what)
{
	unsigned n = 0;

	for (const char *p = in; (p = strstr(p, what)); p += strlen(what))
		n++;
	return n;
}

Test(monitoring, alerts_fire_when_they_must)
{
	char name[80], alerts[1 << 15];
	unsigned n = 0;
	int rc;

	test_begin(200);
	rc = test_promtool("check rules " DIR "alerts.yml", NULL, out, sizeof(out));
	test_require(!rc, "promtool check rules: %s", out);
	rc = test_promtool("test rules " DIR "alerts_test.yml", NULL, out, sizeof(out));
	test_require(!rc, "promtool test rules: %s", out);
	shell("sed -n 's/.*- alert: //p' " DIR "alerts.yml", alerts, sizeof(alerts));
	shell("cat " DIR "alerts_test.yml", text, sizeof(text));
	for (char *save, *a = strtok_r(alerts, "\n", &save); a; a = strtok_r(NULL, "\n", &save), n++) {
		snprintf(name, sizeof(name), "alertname: %s\n        exp_alerts:\n", a);
		test_require(strstr(text, name), "no test in which %s fires", a);
		snprintf(name, sizeof(name), "alertname: %s\n        exp_alerts: []", a);
		test_require(strstr(text, name), "no test in which %s does not fire", a);
	}
	test_require(n >= 15, "%u alerts", n);
}

/* A store that has one of everything that has metrics of its own. */
static void make_store(void)
{
	static char data[64 << 10];
	ppdb *db;

	test_store_start(&s, "--memory 64M --wal-segment 1M --checkpoint-bytes 1M");
	db = test_store_attach(&s, 0);
	test_require(!test_store_command(&s, "table create t --quota 1M", out, sizeof(out)), "%s", out);
	test_require(!test_store_command(&s, "put k v --table t", out, sizeof(out)), "%s", out);
	test_require(!test_store_command(&s, "watch --bookmark b --once", out, sizeof(out)), "%s", out);
	for (unsigned i = 0; i < 32; i++)
		test_ok(ppdb_put(db, 0, PPDB_S("k"), (ppdb_slice){data, sizeof(data)}, NULL, NULL));
	do
		test_require(!test_store_command(&s, "stat --prometheus", metrics, sizeof(metrics)), "%s", metrics);
	while (!test_samples(metrics, "ppdb_checkpoint_timestamp_seconds{") || !test_samples(metrics, "ppdb_table_keys{"));
	test_ok(ppdb_detach(db));
}

/* Every word that looks like a metric. */
static unsigned names_exist(const char *in, const char *whose)
{
	char name[128], want[132];
	unsigned n = 0;

	for (const char *p = in; (p = strstr(p, "ppdb_")); n++) {
		size_t size = 0;

		while (isalnum((unsigned char)p[size]) || p[size] == '_')
			size++;
		snprintf(name, sizeof(name), "%.*s", (int)size, p);
		snprintf(want, sizeof(want), "%s{", name);
		test_require(test_samples(metrics, want), "%s names %s, which no store says", whose, name);
		p += size;
	}
	return n;
}

Test(monitoring, names_are_what_a_store_says)
{
	test_begin(200);
	make_store();
	shell("jq -r '.. | .expr? // empty' " DIR "grafana-dashboard.json", text, sizeof(text));
	test_require(names_exist(text, "the dashboard") >= 50, "few names in the dashboard");
	shell("grep -o 'expr: .*' " DIR "alerts.yml", text, sizeof(text));
	test_require(names_exist(text, "an alert") >= 20, "few names in the alerts");
	shell("jq -r '.templating.list[].query | .query? // empty' " DIR "grafana-dashboard.json 2>/dev/null || true; echo", text, sizeof(text));
	names_exist(text, "a variable of the dashboard");
	test_store_stop(&s);
}

/* Grafana's variables replaced, each query of the dashboard is a rule that Prometheus takes. */
Test(monitoring, queries_are_queries)
{
	char path[] = "/tmp/ppdb-queries-XXXXXX", command[200];
	int fd = mkstemp(path), rc;
	FILE *f;

	test_begin(100);
	shell("jq -r '[.. | .expr? // empty | gsub(\"[$]__rate_interval\"; \"5m\") | gsub(\"[$]store\"; \".*\")] |"
	      " {groups: [{name: \"dashboard\", rules: [to_entries[] | {record: \"q:\\(.key)\", expr: .value}]}]}' " DIR "grafana-dashboard.json", text, sizeof(text));
	test_require(!strchr(text, '$'), "a variable is left in %s", text);
	f = fdopen(fd, "w");
	test_require(f && fputs(text, f) >= 0 && !fclose(f), "%s", path);
	snprintf(command, sizeof(command), "check rules %s", path);
	rc = test_promtool(command, NULL, out, sizeof(out));
	remove(path);
	test_require(!rc && count(text, "\"record\"") >= 40, "promtool: %d, %s", rc, out);
}
