// Shows the OpenAPI description as one section a call; no library, no request elsewhere.
const element = (name, text, ...children) => {
  const made = document.createElement(name);
  if (text) made.textContent = text;
  made.append(...children);
  return made;
};
const prose = (name, text = "") =>
  element(name, "", ...text.split(/`+/).map((part, index) => (index % 2 ? element("code", part) : part)));
const nameOf = (schema) => schema.$ref?.split("/").pop();
const kind = (schema = {}) => (schemas[nameOf(schema)] || schema).enum?.join(" | ") || nameOf(schema) || schema.format
  || schema.type || (schema.anyOf || []).map(kind).join(" | ");
const told = ({ description = "", default: usual }) =>
  `${description}${usual === undefined ? "" : ` Default: \`${JSON.stringify(usual)}\`.`}`;
const table = (rows, name) => {
  const made = element("table");
  for (const row of rows) made.insertRow().append(...row.map((text) => prose("td", text)));
  const wide = element("div", "", made);
  wide.className = "wide";
  wide.tabIndex = 0;
  wide.role = "group";
  wide.ariaLabel = name;
  return wide;
};

// A row for each field of a body, those of objects within it too.
function fields(schema, place, within = "") {
  return Object.entries(schema.properties || {}).flatMap(([name, one]) => {
    const inner = [one, ...(one.anyOf || [])].map((each) => schemas[nameOf(each)]).find((each) => each?.properties);
    if (inner) return fields(inner, place, `${within}${name}.`);
    return [[within + name, schema.required?.includes(name) ? `${place}, required` : place, kind(one), told(one)]];
  });
}

const description = await (await fetch("openapi.json")).json();
const schemas = description.components?.schemas || {};
for (const [path, methods] of Object.entries(description.paths)) {
  for (const [method, call] of Object.entries(methods)) {
    const section = element("section", "", element("h2", `${method.toUpperCase()} ${path}`), prose("p", call.description));
    const { "multipart/form-data": form, "application/json": body } = call.requestBody?.content || {};
    const rows = (call.parameters || []).map((one) => [one.name, one.in, kind(one.schema), told({ ...one.schema, ...one })]);
    if (form) rows.push(...fields(form.schema, "form"));
    if (body) rows.push(...fields(schemas[nameOf(body.schema)] || body.schema, "body"));
    if (rows.length) section.append(table(rows, `What ${method.toUpperCase()} ${path} takes`));
    section.append(element("p", `Answers: ${Object.keys(call.responses).join(", ")}`));
    document.querySelector("#calls").append(section);
  }
}
for (const [name, schema] of Object.entries(schemas)) {
  const rows = Object.entries(schema.properties || {}).map(([field, one]) => [field, kind(one), told(one)]);
  const section = element("section", "", element("h2", name), prose("p", schema.description), table(rows, `Fields of ${name}`));
  section.id = name;
  document.querySelector("#calls").append(section);
}
