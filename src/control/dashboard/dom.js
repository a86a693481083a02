// What a part of the page is to look like, and the one way to make it so. A text becomes a text node or the value
// of an attribute, never HTML: the page's policy (trusted types) would not let it. What is there already is kept
// where it fits, so focus, selection, scrolling and opened <details> survive a change.

const SVG = "http://www.w3.org/2000/svg";

/** Lists in lists are one list; what is null or false is left out. */
function tidy(children) {
  return children.flat(Infinity).filter((child) => child != null && child !== false);
}

/** A description: h("td", {class: "n"}, "7"). */
export function h(tag, props, ...children) {
  return { tag, props: props ?? {}, children: tidy(children) };
}

/** The head of a table, of pairs of a text and a class. */
export function heads(...pairs) {
  return h("thead", {}, h("tr", {}, pairs.map(([text, kind]) => h("th", { scope: "col", class: kind ?? null }, text))));
}

/** A cell with a number, or what stands for one. */
export function number(text, kind) {
  return h("td", { class: kind ? `n ${kind}` : "n" }, text);
}

export function faint(text) {
  return h("p", { class: "faint" }, text);
}

function fits(node, item) {
  if (node == null) return false;
  if (typeof item !== "object") return node.nodeType === Node.TEXT_NODE;
  return node.nodeType === Node.ELEMENT_NODE && node.localName === item.tag && node.upswapKey === item.props.key;
}

function make(parent, item) {
  if (typeof item !== "object") return document.createTextNode("");
  const svg = item.tag === "svg" || parent.namespaceURI === SVG;
  const node = svg ? document.createElementNS(SVG, item.tag) : document.createElement(item.tag);
  node.upswapKey = item.props.key;
  return node;
}

function set(node, name, value) {
  if (name === "key") return;
  if (name.startsWith("on")) node[name] = value ?? null;
  else if (value == null || value === false) node.removeAttribute(name);
  else if (node.getAttribute(name) !== String(value)) node.setAttribute(name, value === true ? "" : value);
}

function update(node, item) {
  if (typeof item !== "object") {
    if (node.data !== String(item)) node.data = item;
    return;
  }
  const before = node.upswapProps ?? {};
  for (const name of Object.keys(before)) if (!(name in item.props)) set(node, name, null);
  for (const [name, value] of Object.entries(item.props)) set(node, name, value);
  node.upswapProps = item.props;
  draw(node, item.children);
}

/** Makes the children of `parent` what the list describes. */
export function draw(parent, items) {
  const keyed = new Map();
  for (const node of parent.childNodes) if (node.upswapKey !== undefined) keyed.set(node.upswapKey, node);
  let at = parent.firstChild;
  for (const item of tidy(items)) {
    const known = typeof item === "object" && item.props.key !== undefined ? keyed.get(item.props.key) : at;
    let node = known;
    if (!fits(known, item)) parent.insertBefore((node = make(parent, item)), at);
    else if (known !== at) parent.insertBefore(known, at);
    else at = at.nextSibling;
    update(node, item);
  }
  while (at !== null) {
    const next = at.nextSibling;
    at.remove();
    at = next;
  }
}
