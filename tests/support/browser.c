/*
 * browser.c - see browser.h. W3C WebDriver over HTTP: JSON in, JSON out, curl in between.
 */
#include "browser.h"

#include <string.h>

#include "files.h"
#include "proc.h"

#define START_MS 60000		/* Chromium on a busy machine */

struct browser {
	const char *session;	/* URL of it */
};

/* ---- commands ---- */

/* Takes body (NULL: {}). Gives the value of the answer; a refusal fails the test. */
static json_t *ask_by(const char *method, const char *url, json_t *body)
{
	char *text = body != NULL ? json_dumps(body, JSON_COMPACT) : NULL;
	const struct proc_options options = { .input = text != NULL ? story_text("%s", text) : "{}" };
	struct proc *p = proc_start(&options, WORDS("curl", "-sS", "--noproxy", "*", "--max-time", "300", "-X", method, "-H",
	                                            "Content-Type: application/json", "--data-binary", "@-", url));
	json_t *answer, *value;

	free(text);
	json_decref(body);
	proc_must_exit(p, 0, START_MS);
	answer = json_loads(proc_out(p), 0, NULL);
	value = json_incref(json_object_get(answer, "value"));
	if (value == NULL || json_object_get(value, "error") != NULL)
		story_fail("%s: %.2000s", url, proc_out(p));
	json_decref(answer);
	return value;
}

static json_t *ask(const char *url, json_t *body)
{
	return ask_by("POST", url, body);
}

static json_t *tell(struct browser *b, const char *path, json_t *body)
{
	return ask(story_text("%s/%s", b->session, path), body);
}

json_t *browser_devtools(struct browser *b, const char *command, json_t *params)
{
	return tell(b, "goog/cdp/execute", json_pack("{s:s, s:o}", "cmd", command, "params", params != NULL ? params : json_object()));
}

static void devtools(struct browser *b, const char *command, json_t *params)
{
	json_decref(browser_devtools(b, command, params));
}

/* ---- start ---- */

static int port_of_driver(struct proc *p)
{
	static const char words[] = "started successfully on port ";

	proc_must_show(p, words, false, START_MS);
	return atoi(strstr(proc_out(p), words) + strlen(words));
}

struct browser *browser_open(void)
{
	struct browser *b = story_memory(sizeof *b);
	/* What it puts into a temporary directory goes with the test. */
	const struct proc_options options = { .env = WORDS(story_text("TMPDIR=%s", test_dir())) };
	struct proc *driver = proc_start(&options, WORDS("chromedriver", "--port=0"));
	const char *url = story_text("http://127.0.0.1:%d/session", port_of_driver(driver));
	json_t *session = ask(url, json_pack("{s:{s:{s:s, s:{s:s, s:s}, s:{s:s, s:[s,s,s,s,s,s,s,s,s,s,s]}}}}",
		"capabilities", "alwaysMatch", "browserName", "chrome",
		"goog:loggingPrefs", "browser", "ALL", "performance", "ALL",
		"goog:chromeOptions", "binary", "/usr/bin/chromium", "args",
		"--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--hide-scrollbars", "--no-first-run",
		"--disable-background-networking", "--disable-component-update", "--no-proxy-server",
		"--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1", story_text("--user-data-dir=%s", test_path("browser"))));

	b->session = story_text("%s/%s", url, json_string_value(json_object_get(session, "sessionId")));
	json_decref(session);
	json_decref(tell(b, "timeouts", json_pack("{s:i}", "script", 300000)));
	return b;
}

void browser_close(struct browser *b)
{
	json_decref(ask_by("DELETE", b->session, NULL));
}

void browser_go(struct browser *b, const char *url)
{
	json_decref(tell(b, "url", json_pack("{s:s}", "url", url)));
}

/* ---- what it shows ---- */

/*
 * Looked at every 50 ms in the page itself, until it is what is expected or the time is over: the text is part of the
 * script, since the policy of a page forbids eval().
 */
const char *browser_value(struct browser *b, const char *js, const char *expected, unsigned ms)
{
	const char *script = story_text(
		"const [expected, ms, done] = arguments, until = performance.now() + ms;\n"
		"(function look() {\n"
		"	let value;\n"
		"	try { value = %s; } catch (e) { value = 'threw ' + e; }\n"
		"	value = value !== null && typeof value === 'object' ? JSON.stringify(value) : String(value);\n"
		"	if (value === expected || performance.now() >= until) done(value); else setTimeout(look, 50);\n"
		"})();", js);
	json_t *value = tell(b, "execute/async", json_pack("{s:s, s:[s?, i]}", "script", script, "args", expected, (int)ms));
	const char *text = story_text("%s", json_string_value(value));

	json_decref(value);
	return text;
}

void browser_must_show(struct browser *b, const char *js, const char *expected, unsigned ms)
{
	uint64_t until = story_until(ms);
	const char *value;

	/* A deadline of the story, in pieces, so that a slow machine gets its multiple. */
	do {
		value = browser_value(b, js, expected, ms / 4);
		if (strcmp(value, expected) == 0)
			return;
	} while (story_wait(until));
	story_fail("%s\nis: %s\nnot: %s", js, value, expected);
}

void browser_look(struct browser *b, int width, int height, bool dark)
{
	devtools(b, "Emulation.setDeviceMetricsOverride", json_pack("{s:i, s:i, s:i, s:b}", "width", width, "height", height,
	                                                            "deviceScaleFactor", 1, "mobile", 0));
	devtools(b, "Emulation.setEmulatedMedia", json_pack("{s:[{s:s, s:s}, {s:s, s:s}]}", "features",
		"name", "prefers-color-scheme", "value", dark ? "dark" : "light", "name", "prefers-reduced-motion", "value", "reduce"));
}

void browser_screenshot(struct browser *b, const char *path)
{
	browser_value(b, "scrollTo(0, 0)", NULL, 0);
	int width = atoi(browser_value(b, "innerWidth", NULL, 0));
	int height = atoi(browser_value(b, "document.documentElement.scrollHeight", NULL, 0));
	json_t *shot = browser_devtools(b, "Page.captureScreenshot", json_pack("{s:b, s:{s:i, s:i, s:i, s:i, s:i}}",
		"captureBeyondViewport", 1, "clip", "x", 0, "y", 0, "width", width, "height", height, "scale", 1));
	const struct proc_options options = { .input = json_string_value(json_object_get(shot, "data")) };

	proc_must_exit(proc_start(&options, WORDS("sh", "-c", "base64 -d > \"$0\"", path)), 0, 20000);
	json_decref(shot);
}

/* ---- what a person does ---- */

void browser_press(struct browser *b, const char *key)
{
	for (int up = 0; up <= 1; up++)
		devtools(b, "Input.dispatchKeyEvent", json_pack("{s:s, s:s, s:s, s:i}", "type", up ? "keyUp" : "keyDown", "key", key,
		                                                "code", key, "windowsVirtualKeyCode", strcmp(key, "Tab") == 0 ? 9 : 13));
}

void browser_click(struct browser *b, const char *selector)
{
	json_t *element = tell(b, "element", json_pack("{s:s, s:s}", "using", "css selector", "value", selector));
	const char *id = json_string_value(json_object_iter_value(json_object_iter(element)));

	json_decref(tell(b, story_text("element/%s/click", id), NULL));
	json_decref(element);
}

/* ---- what it logged ---- */

const char *browser_complaints(struct browser *b)
{
	json_t *log = tell(b, "se/log", json_pack("{s:s}", "type", "browser")), *entry;
	const char *text = "";
	size_t i;

	json_array_foreach(log, i, entry)
		text = story_text("%s%s\n", text, json_string_value(json_object_get(entry, "message")));
	json_decref(log);
	return text;
}

const char *browser_requests(struct browser *b)
{
	json_t *log = tell(b, "se/log", json_pack("{s:s}", "type", "performance")), *entry;
	const char *text = "";
	size_t i;

	json_array_foreach(log, i, entry) {
		const char *name = NULL, *method = NULL, *url = NULL;
		json_t *event = json_loads(json_string_value(json_object_get(entry, "message")), 0, NULL);

		if (json_unpack(event, "{s:{s:s, s:{s:{s:s, s:s}}}}", "message", "method", &name, "params", "request",
		                "method", &method, "url", &url) == 0 && strcmp(name, "Network.requestWillBeSent") == 0)
			text = story_text("%s%s %s\n", text, method, url);
		json_decref(event);
	}
	json_decref(log);
	return text;
}
