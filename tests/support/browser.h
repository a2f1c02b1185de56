/*
 * browser.h - a real browser for stories about the page: headless Chromium, driven through chromedriver.
 *
 * JavaScript is given as an expression; what it comes to is told as text. The browser reaches no host but
 * 127.0.0.1. It is ended with the test, as everything that the test started.
 */
#ifndef BROWSER_H
#define BROWSER_H

#include <jansson.h>
#include <stdbool.h>
#include "scene.h"

struct browser;

#define must_have_browser() (story_at(__FILE__, __LINE__), browser_open())
#define browse(b, url) (story_at(__FILE__, __LINE__), browser_go(b, url))
/* What a JavaScript expression is now, as text. */
#define page_value(b, js) (story_at(__FILE__, __LINE__), browser_value(b, js, NULL, 0))
/* It has to become this within so many milliseconds. */
#define must_show(b, js, expected, ms) (story_at(__FILE__, __LINE__), browser_must_show(b, js, expected, ms))
/* A key ("Tab"), and a click on the first element that a CSS selector finds, as a person does them. */
#define press(b, key) (story_at(__FILE__, __LINE__), browser_press(b, key))
#define click(b, selector) (story_at(__FILE__, __LINE__), browser_click(b, selector))
/* The whole page as a PNG file. */
#define screenshot(b, path) (story_at(__FILE__, __LINE__), browser_screenshot(b, path))

struct browser *browser_open(void);
void browser_close(struct browser *b);	/* else its many processes outlive the one that was started */
void browser_go(struct browser *b, const char *url);
const char *browser_value(struct browser *b, const char *js, const char *expected, unsigned ms);
void browser_must_show(struct browser *b, const char *js, const char *expected, unsigned ms);
void browser_press(struct browser *b, const char *key);
void browser_click(struct browser *b, const char *selector);
void browser_screenshot(struct browser *b, const char *path);

/* The size of the window in pixels, and which colours the person wants. */
void browser_look(struct browser *b, int width, int height, bool dark);
/* What the browser logged since it was last asked: errors and warnings of the page, one a line. */
const char *browser_complaints(struct browser *b);
/* What it has requested since it was last asked, "GET http://…", one a line. */
const char *browser_requests(struct browser *b);
/* The answer of a command of the DevTools protocol. The caller frees it; params is taken, and may be NULL. */
json_t *browser_devtools(struct browser *b, const char *command, json_t *params);

#endif
