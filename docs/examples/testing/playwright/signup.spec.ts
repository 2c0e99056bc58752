// A sign-up by mail, in a browser: mailwright dev --ephemeral -- npx playwright test
import { randomUUID } from "node:crypto";
import { expect, test } from "@playwright/test";
import { waitForMail } from "./inbox";

// An address for each test: tests can run side by side, and nobody has to empty the inbox.
const someone = () => `ada+${randomUUID()}@example.test`;

test("the code of the mail confirms the address", async ({ page, request }) => {
  const address = someone();
  await page.goto("/");
  await page.getByLabel("Email").fill(address);
  await page.getByRole("button", { name: "Sign up" }).click();

  const mail = await waitForMail(request, address, { subject: "Your code" });
  await page.getByLabel("Code").fill(mail.codes[0]);
  await page.getByRole("button", { name: "Confirm" }).click();
  await expect(page.getByRole("heading")).toHaveText(`Welcome, ${address}`);
});

test("so does the link of the mail", async ({ page, request }) => {
  const address = someone();
  await request.post("/", { form: { email: address } });
  const mail = await waitForMail(request, address);
  await page.goto(mail.links[0]);
  await expect(page.getByRole("heading")).toHaveText(`Welcome, ${address}`);
});

test("who mistypes the code may try again", async ({ page }) => {
  await page.goto("/");
  await page.getByLabel("Email").fill(someone());
  await page.getByRole("button", { name: "Sign up" }).click();
  await page.getByLabel("Code").fill("000000");
  await page.getByRole("button", { name: "Confirm" }).click();
  await expect(page.getByRole("heading")).toHaveText("That is not the code");
  await expect(page.getByLabel("Code")).toBeVisible();
});
