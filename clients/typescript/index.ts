// A client of Mailwright: openapi-fetch with the types that openapi-typescript makes of openapi.yaml (schema.ts).
import fetchClient, { type Client as FetchClient, type ClientOptions } from "openapi-fetch";
import type { components, paths } from "./schema.js";

export type { components, operations, paths, webhooks } from "./schema.js";

/** Any schema of openapi.yaml by its name: `Schema<"SendRequest">`. */
export type Schema<Name extends keyof components["schemas"]> = components["schemas"][Name];

export type Client = FetchClient<paths>;

export interface Options extends Omit<ClientOptions, "baseUrl" | "headers"> {
  /** Where the service is, such as `https://mail.example.com`. */
  url: string;
  /** An API key or a token. */
  key: string;
}

/** A client of the service at `url`. Each call answers `{ data, error, response }`; `error` is a `Schema<"Problem">`. */
export function createClient({ url, key, ...options }: Options): Client {
  const headers = { authorization: `Bearer ${key}` };
  return fetchClient<paths>({ bodySerializer: serialized, ...options, baseUrl: url, headers });
}

/** JSON, but for bytes, which are sent as they are. */
function serialized(body: unknown): Blob | string {
  return body instanceof Blob ? body : JSON.stringify(body);
}
