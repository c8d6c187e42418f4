/*
 * conf.c - the parser of config files and options (see conf.h).
 *
 * Strict on purpose: an unknown key, a value out of range or a line without '=' stops the start with file and line, because a
 * setting that is silently ignored is found only when it is needed. Private to the process.
 */
#include "tools/conf.h"

#include "shm/errors.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

int pp_conf_number(const char *text, uint64_t *out)
{
	uint64_t v = 0;

	if (!isdigit((unsigned char)*text))
		return -EINVAL;
	for (; isdigit((unsigned char)*text); text++) {
		uint64_t digit = (uint64_t)(*text - '0');

		if (v > (UINT64_MAX - digit) / 10)
			return -EINVAL;
		v = v * 10 + digit;
	}
	if (*text)
		return -EINVAL;
	*out = v;
	return 0;
}

int pp_conf_size(const char *text, uint64_t *bytes)
{
	static const char units[] = "KMGT";
	size_t digits = strspn(text, "0123456789");
	const char *unit = text + digits, *at;
	char number[24];
	unsigned shift = 0;
	uint64_t v;

	if (!digits || digits >= sizeof(number))
		return -EINVAL;
	memcpy(number, text, digits);
	number[digits] = '\0';
	if (pp_conf_number(number, &v))
		return -EINVAL;
	if (*unit) {
		at = strchr(units, toupper((unsigned char)*unit));
		if (!at)
			return -EINVAL;
		if (unit[1] && strcmp(unit + 1, "B") && strcmp(unit + 1, "iB"))
			return -EINVAL;
		shift = 10 * (unsigned)(at - units + 1);
	}
	if (v > UINT64_MAX >> shift)
		return -EINVAL;
	*bytes = v << shift;
	return 0;
}

static bool same_name(const char *a, const char *b, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if ((a[i] == '_' ? '-' : a[i]) != (b[i] == '_' ? '-' : b[i]) || !a[i])
			return false;
	}
	return !a[n];
}

static const struct pp_conf_key *find(const struct pp_conf_key *k, const char *name, size_t n)
{
	while (k->name && !same_name(k->name, name, n))
		k++;
	return k->name ? k : NULL;
}

static int to_flag(const char *text, bool *out)
{
	static const char *const yes[] = { "yes", "on", "true", "1" }, *const no[] = { "no", "off", "false", "0" };

	for (size_t i = 0; i < 4; i++) {
		if (!strcasecmp(text, yes[i]) || !strcasecmp(text, no[i])) {
			*out = !strcasecmp(text, yes[i]);
			return 0;
		}
	}
	return -EINVAL;
}

static int to_choice(const char *words, const char *text, uint64_t *out)
{
	uint64_t index = 0;
	size_t n = strlen(text);

	for (const char *w = words; w; index++) {
		const char *end = strchr(w, '|');
		size_t length = end ? (size_t)(end - w) : strlen(w);

		if (n && length == n && !memcmp(w, text, n)) {
			*out = index;
			return 0;
		}
		w = end ? end + 1 : NULL;
	}
	return -EINVAL;
}

static int set_text(const struct pp_conf_key *k, char *at, const char *value, const char *where)
{
	size_t n = strlen(value);

	if (n >= k->max)
		return pp_detail(-EINVAL, "%s: %s has at most %zu bytes", where, k->name, (size_t)k->max - 1);
	memcpy(at, value, n + 1);
	return 0;
}

static int set_number(const struct pp_conf_key *k, void *at, const char *value, const char *where)
{
	bool size = k->kind == PP_CONF_SIZE;
	uint64_t v;

	if (size ? pp_conf_size(value, &v) : pp_conf_number(value, &v))
		return pp_detail(-EINVAL, size ? "%s: '%s' is not a size for %s: a number with K, M, G or T" :
			"%s: '%s' is not a number for %s", where, value, k->name);
	if (v < k->min || v > k->max)
		return pp_detail(-EINVAL, "%s: %s is %s, it must be %llu to %llu", where, k->name, value,
			(unsigned long long)k->min, (unsigned long long)k->max);
	memcpy(at, &v, sizeof(v));
	return 0;
}

static int set_key(const struct pp_conf_key *k, void *settings, const char *value, const char *where)
{
	char *at = (char *)settings + k->offset;
	uint64_t choice;
	bool flag;

	switch (k->kind) {
	case PP_CONF_FLAG:
		if (to_flag(value, &flag))
			return pp_detail(-EINVAL, "%s: %s is yes or no, not '%s'", where, k->name, value);
		memcpy(at, &flag, sizeof(flag));
		return 0;
	case PP_CONF_CHOICE:
		if (to_choice(k->words, value, &choice))
			return pp_detail(-EINVAL, "%s: %s is one of %s, not '%s'", where, k->name, k->words, value);
		memcpy(at, &choice, sizeof(choice));
		return 0;
	case PP_CONF_TEXT:
		return set_text(k, at, value, where);
	default:
		return set_number(k, at, value, where);
	}
}

int pp_conf_set(const struct pp_conf_key *keys, void *settings, const char *name, const char *value, const char *where)
{
	const struct pp_conf_key *k = find(keys, name, strlen(name));

	if (!k)
		return pp_detail(-EINVAL, "%s: there is no key '%s'", where, name);
	return set_key(k, settings, value, where);
}

/* ---- file */

static char *trim(char *s)
{
	char *end;

	while (isspace((unsigned char)*s))
		s++;
	end = s + strlen(s);
	while (end > s && isspace((unsigned char)end[-1]))
		end--;
	*end = '\0';
	return s;
}

static int section_line(char *line, const char *section, bool *ours, const char *where)
{
	char *end = strchr(line, ']');

	if (!end || trim(end + 1)[0])
		return pp_detail(-EINVAL, "%s: a section looks like [%s]", where, section);
	*end = '\0';
	*ours = !strcmp(trim(line + 1), section);
	return 0;
}

static int key_line(const struct pp_conf_key *keys, void *settings, char *line, const char *where)
{
	char *equals = strchr(line, '='), *name, *value;
	const struct pp_conf_key *k;
	size_t n;

	if (!equals)
		return pp_detail(-EINVAL, "%s: 'key = value' is expected, not '%s'", where, line);
	*equals = '\0';
	name = trim(line);
	value = trim(equals + 1);
	n = strlen(value);
	if (n >= 2 && value[0] == '"' && value[n - 1] == '"') {
		value[n - 1] = '\0';
		value++;
	}
	k = find(keys, name, strlen(name));
	if (k && k->only_option)
		return pp_detail(-EINVAL, "%s: %s can only be an option of the command line", where, name);
	return pp_conf_set(keys, settings, name, value, where);
}

int pp_conf_file(const struct pp_conf_key *keys, void *settings, const char *path, const char *section)
{
	FILE *f = fopen(path, "re");
	char *line = NULL, where[512];
	size_t cap = 0;
	bool ours = true;
	int rc = 0, number = 0;

	if (!f)
		return pp_detail(-errno, "cannot read the config file %s: %s", path, strerror(errno));
	while (!rc && getline(&line, &cap, f) >= 0) {
		char *at = trim(line);

		snprintf(where, sizeof(where), "%s:%d", path, ++number);
		if (!at[0] || at[0] == '#' || at[0] == ';')
			continue;
		if (at[0] == '[')
			rc = section_line(at, section, &ours, where);
		else if (ours)
			rc = key_line(keys, settings, at, where);
	}
	if (!rc && ferror(f))
		rc = pp_detail(-EIO, "cannot read the config file %s", path);
	free(line);
	fclose(f);
	return rc;
}

/* ---- options */

static int long_option(const struct pp_conf_key *keys, void *settings, int argc, char **argv, int *i)
{
	const char *word = argv[*i] + 2, *equals = strchr(word, '=');
	size_t n = equals ? (size_t)(equals - word) : strlen(word);
	const struct pp_conf_key *k = find(keys, word, n);
	char where[128];

	snprintf(where, sizeof(where), "--%.*s", (int)n, word);
	if (!k && n > 3 && !memcmp(word, "no-", 3) && !equals) {
		k = find(keys, word + 3, n - 3);
		if (k && k->kind == PP_CONF_FLAG)
			return set_key(k, settings, "no", where);
		k = NULL;
	}
	if (!k)
		return pp_detail(-EINVAL, "there is no option %s; see --help", where);
	if (equals)
		return set_key(k, settings, equals + 1, where);
	if (k->kind == PP_CONF_FLAG)
		return set_key(k, settings, "yes", where);
	if (*i + 1 >= argc)
		return pp_detail(-EINVAL, "%s needs a value", where);
	return set_key(k, settings, argv[++*i], where);
}

static int short_option(const struct pp_conf_key *keys, void *settings, int argc, char **argv, int *i)
{
	const struct pp_conf_key *k = keys;
	const char *word = argv[*i];
	char where[3] = { '-', word[1], '\0' };

	while (k->name && k->letter != word[1])
		k++;
	if (!k->name)
		return pp_detail(-EINVAL, "there is no option %s; see --help", where);
	if (k->kind == PP_CONF_FLAG && !word[2])
		return set_key(k, settings, "yes", where);
	if (word[2])
		return set_key(k, settings, word + 2, where);
	if (*i + 1 >= argc)
		return pp_detail(-EINVAL, "%s needs a value", where);
	return set_key(k, settings, argv[++*i], where);
}

int pp_conf_args(const struct pp_conf_key *keys, void *settings, int argc, char **argv, int *rest)
{
	int i = 1, rc = 0;

	for (; i < argc && !rc; i++) {
		if (argv[i][0] != '-' || !argv[i][1])
			break;
		if (!strcmp(argv[i], "--")) {
			i++;
			break;
		}
		if (argv[i][1] == '-')
			rc = long_option(keys, settings, argc, argv, &i);
		else
			rc = short_option(keys, settings, argc, argv, &i);
	}
	*rest = i;
	return rc;
}

void pp_conf_help(const struct pp_conf_key *k, FILE *out)
{
	char left[64];

	for (; k->name; k++) {
		char letter[5] = "    ";

		if (k->letter)
			snprintf(letter, sizeof(letter), "-%c, ", k->letter);
		snprintf(left, sizeof(left), "  %s--%s%s%s", letter, k->name, k->arg ? " " : "", k->arg ? k->arg : "");
		fprintf(out, "%-38s %s\n", left, k->help);
	}
}
