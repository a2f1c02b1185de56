/*
 * checks.js - what must hold of the page for everybody who reads it, in whatever state it is: names, headings, tables,
 * contrast, room. One expression: the first complaints, one a line, "" when there are none. it_page.c runs it in the browser.
 */
(() => {
	const complaints = [];
	const all = selector => [...document.querySelectorAll(selector)];
	const shown = node => node.checkVisibility({ visibilityProperty: true });
	const what = node => "<" + node.tagName.toLowerCase() + (node.id ? " id=" + node.id : "") + "> " + node.textContent.trim().slice(0, 40);
	const must = (fact, text) => fact || complaints.push(text);

	/* ---- names and structure ---- */

	must(document.documentElement.lang === "en", "no language");
	must(document.title.length > 5, "no title");
	for (const landmark of ["body > header", "main", "body > footer", "nav[aria-label]"])
		must(all(landmark).length === 1, "not one " + landmark);
	must(all("h1").filter(shown).length === 1, "not one h1");

	let level = 0;
	for (const h of all("h1, h2, h3, h4, h5, h6").filter(shown)) {
		must(+h.tagName[1] <= level + 1, "a level is skipped before " + what(h));
		must(h.textContent.trim() !== "", "an empty heading");
		level = +h.tagName[1];
	}
	for (const node of all("[aria-labelledby]"))
		must(document.getElementById(node.getAttribute("aria-labelledby")), "a label that is not there: " + what(node));
	for (const node of all("section"))
		must(node.hasAttribute("aria-labelledby"), "a section without a name: " + what(node));
	for (const node of all("a, button, summary").filter(shown))
		must(node.textContent.trim() !== "", "nothing to call it by: " + node.outerHTML.slice(0, 80));
	for (const node of all("progress, [role=img], pre[tabindex]"))
		must(node.tagName === "PRE" || node.getAttribute("aria-label"), "no label: " + node.outerHTML.slice(0, 80));
	for (const node of all("svg"))
		must(node.getAttribute("aria-hidden") === "true" || node.getAttribute("role") === "img", "a picture that says neither: " + node.outerHTML.slice(0, 80));
	const ids = all("[id]").map(node => node.id);
	must(new Set(ids).size === ids.length, "an id is there twice");

	/* ---- tables ---- */

	for (const table of all("table").filter(shown)) {
		must(table.getAttribute("role") === "table", "a table without its role: " + table.id);
		for (const th of table.querySelectorAll("thead th"))
			must(th.scope === "col" && th.getAttribute("role") === "columnheader" && th.textContent, "a column without a header: " + table.id);
		for (const row of table.tBodies[0].rows) {
			must(row.getAttribute("role") === "row" && row.cells[0].scope === "row", "a row without a name: " + table.id);
			must(row.cells.length === table.tHead.rows[0].cells.length, "a row of another length: " + table.id);
			for (const cell of row.querySelectorAll("td"))
				must(cell.getAttribute("role") === "cell" && cell.dataset.label, "a cell without its heading: " + what(cell));
		}
	}

	/* ---- contrast (WCAG 2, AA) ---- */

	const parse = color => {
		const n = color.match(/[\d.]+/g).map(Number);

		return { rgb: n.slice(0, 3), a: n.length > 3 ? n[3] : 1 };
	};
	const over = (top, below) => top.rgb.map((c, i) => c * top.a + below[i] * (1 - top.a));
	const light = rgb => rgb.map(c => c / 255).map(c => c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
		.reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
	const ground = node => node ? over(parse(getComputedStyle(node).backgroundColor), ground(node.parentElement)) : [255, 255, 255];
	const contrast = (a, b) => (Math.max(light(a), light(b)) + 0.05) / (Math.min(light(a), light(b)) + 0.05);
	let texts = 0;

	const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
	while (walker.nextNode()) {
		const node = walker.currentNode.parentElement;

		if (walker.currentNode.data.trim() === "" || !shown(node) || node.closest("script, style, noscript, .hidden, .skip"))
			continue;
		const style = getComputedStyle(node), size = parseFloat(style.fontSize);
		const large = size >= 24 || (size >= 18.66 && style.fontWeight >= 700);
		const found = contrast(over(parse(style.color), ground(node)), ground(node));

		must(found >= (large ? 3 : 4.5), "contrast " + found.toFixed(2) + ": " + what(node));
		must(size >= 11, "letters of " + size + " px: " + what(node));
		texts++;
	}
	must(texts > 20, "only " + texts + " texts are seen");

	/* ---- room ---- */

	must(document.documentElement.scrollWidth <= innerWidth, "wider than the window: " + document.documentElement.scrollWidth);
	for (const node of all("main *").filter(shown)) {
		const box = node.getBoundingClientRect();

		must(node.closest(".hidden, thead, svg") || box.width === 0 || (box.left >= 0 && box.right <= innerWidth + 0.5), "out of the window: " + what(node));
	}
	for (const node of all("button, .tiles a").filter(shown))
		must(node.getBoundingClientRect().height >= 24 && node.getBoundingClientRect().width >= 24, "too small to touch: " + what(node));
	must(document.getAnimations().length === 0, "something moves, although less motion was asked for");
	return complaints.slice(0, 20).join("\n");
})()
