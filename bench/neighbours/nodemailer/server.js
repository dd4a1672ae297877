// Nodemailer: Fastify before Nodemailer's pool of three kept sessions. It answers before the mail is sent, keeps it in
// memory only, and checks the mail's form by a JSON schema, as Fastify's users do.

import { readFileSync } from "node:fs";

import Fastify from "fastify";
import nodemailer from "nodemailer";

const pool = nodemailer.createTransport({
  pool: true,
  host: "127.0.0.1",
  port: Number(process.env.BENCH_SMTP_PORT),
  requireTLS: true,
  tls: { ca: readFileSync(process.env.BENCH_CA) },
  auth: { user: "bench", pass: "bench" },
  maxConnections: 3,
  maxMessages: Infinity,
});

const text = { type: "string" };
const address = { type: "string", format: "email" };
const schema = {
  body: {
    type: "object",
    required: ["from", "to", "subject", "text"],
    properties: { from: address, to: address, subject: text, text },
  },
};

const app = Fastify();

app.post("/send", { schema }, async (request, reply) => {
  const { from, to, subject, text } = request.body;
  pool.sendMail({ from, to, subject, text }).catch((error) => console.error(error.message));
  reply.code(202);
  return { status: "queued" };
});

await app.listen({ host: "127.0.0.1", port: Number(process.env.BENCH_PORT) });
