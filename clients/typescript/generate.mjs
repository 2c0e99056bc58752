// Makes schema.ts of an openapi.yaml (the arguments: from, into): bytes are a Blob and not a string, in what is sent and what is read.
import { writeFile } from "node:fs/promises";
import { pathToFileURL } from "node:url";
import openapiTS, { astToString, COMMENT_HEADER } from "openapi-typescript";
import ts from "typescript";

const [from, into] = process.argv.slice(2);
const blob = ts.factory.createTypeReferenceNode("Blob");
const types = await openapiTS(pathToFileURL(from), {
  silent: true,
  transform: (schema) => (schema.format === "binary" ? blob : undefined),
});
await writeFile(into, COMMENT_HEADER + astToString(types));
