// A real OpenID provider. Its users sign in with a password and, if they give it, a one-time code; the ID token
// says which (amr), to which class (acr) and when (auth_time). New signing keys at every start; they are written down
// for tests that forge with them: a provider whose every claim somebody else chooses.
// It does token exchange itself, for agents that have a secret there (exchange.mjs).
// It signs security events, too (Shared Signals): a test posts the claims to /events and pushes what it gets.
//
// node provider.mjs SETTINGS.json; prints "ready" once it listens.
import { createPrivateKey, generateKeyPairSync, randomUUID, sign } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:https';
import { Provider } from 'oidc-provider';
import { agentClient, delegates, extraTokenClaims } from './exchange.mjs';
import { totp } from './totp.mjs';

// Whoever started this reads one line and hangs up: advice for production would meet a closed pipe.
console.info = () => {};
console.warn = console.info;

const settings = JSON.parse(readFileSync(process.argv[2], 'utf8'));
const users = new Map(settings.users.map((user) => [user.sub, user]));

function signingKey() {
  const made = {
    RS256: () => generateKeyPairSync('rsa', { modulusLength: 2048 }),
    ES256: () => generateKeyPairSync('ec', { namedCurve: 'P-256' }),
    EdDSA: () => generateKeyPairSync('ed25519'),
  };
  const { privateKey } = made[settings.algorithm]();
  const jwk = { ...privateKey.export({ format: 'jwk' }), kid: randomUUID(), use: 'sig', alg: settings.algorithm };
  writeFileSync(settings.signing_key, JSON.stringify(jwk), { mode: 0o600 });
  return jwk;
}

const key = signingKey();

function event(claims) {
  const encode = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
  const signed = `${encode({ alg: key.alg, typ: 'secevent+jwt', kid: key.kid })}.${encode(claims)}`;
  const own = { key: createPrivateKey({ key, format: 'jwk' }), dsaEncoding: 'ieee-p1363' };
  return `${signed}.${sign(key.alg === 'EdDSA' ? null : 'sha256', Buffer.from(signed), own).toString('base64url')}`;
}

async function signals(request, response) {
  if (request.method !== 'POST') {
    response.setHeader('content-type', 'application/json');
    response.end(JSON.stringify({ issuer: settings.issuer, jwks_uri: `${settings.issuer}/jwks` }));
    return;
  }
  let body = '';
  for await (const part of request) body += part;
  response.end(event(JSON.parse(body)));
}

const provider = new Provider(settings.issuer, {
  jwks: { keys: [key] },
  clients: settings.agents.map((agent) => agentClient(agent, settings.algorithm)).concat(settings.clients.map((id) => ({
    client_id: id,
    token_endpoint_auth_method: 'none',
    redirect_uris: ['https://client.invalid/callback'],
    response_types: ['code'],
    grant_types: ['authorization_code'],
    id_token_signed_response_alg: settings.algorithm,
    require_auth_time: true,
  }))),
  enabledJWA: { idTokenSigningAlgValues: ['RS256', 'ES256', 'EdDSA'] },
  claims: { openid: ['sub', 'acr', 'amr', 'auth_time'], email: ['email', 'email_verified'], groups: ['groups'] },
  scopes: ['openid', 'email', 'groups'],
  extraTokenClaims,
  conformIdTokenClaims: false,
  cookies: { keys: [randomUUID()] },
  pkce: { required: () => true },
  ttl: { IdToken: settings.id_token_seconds ?? 300 },
  features: { devInteractions: { enabled: false }, resourceIndicators: { enabled: true } },
  interactions: { url: (ctx, interaction) => `/interaction/${interaction.uid}` },
  async findAccount(ctx, sub) {
    const user = users.get(sub);
    return user && {
      accountId: sub,
      claims: async () => ({ sub, email: user.email, email_verified: user.email_verified ?? true, groups: user.groups }),
    };
  },
  // Whoever signs in to these clients has consented.
  async loadExistingGrant(ctx) {
    const grant = new ctx.oidc.provider.Grant({ clientId: ctx.oidc.client.clientId, accountId: ctx.oidc.session.accountId });
    grant.addOIDCScope('openid email groups');
    await grant.save();
    return grant;
  },
});

const { audience, algorithm } = settings;
delegates(provider, { audience, algorithm, seconds: settings.delegation_seconds ?? 300, users });

async function interact(request, response) {
  await provider.interactionDetails(request, response);
  if (request.method !== 'POST') {
    response.setHeader('content-type', 'text/html');
    response.end('<form method="post"><input name="user"><input name="password"><input name="code"></form>');
    return;
  }
  let body = '';
  for await (const part of request) body += part;
  const form = new URLSearchParams(body);
  const user = users.get(form.get('user'));
  if (!user || form.get('password') !== user.password) throw new Error('wrong user or password');
  const amr = ['pwd'];
  if (form.get('code')) {
    const now = Date.now();
    if (![now, now - 30000].some((time) => totp(user.secret, time) === form.get('code'))) throw new Error('wrong code');
    amr.push('otp');
  }
  const login = { accountId: user.sub, amr, acr: amr.length > 1 ? 'urn:tether:mfa' : 'urn:tether:single' };
  await provider.interactionFinished(request, response, { login });
}

const callback = provider.callback();
const tls = { key: readFileSync(settings.key), cert: readFileSync(settings.certificate) };
const server = createServer(tls, (request, response) => {
  const own = ['/events', '/.well-known/ssf-configuration'].includes(request.url);
  if (!own && !request.url.startsWith('/interaction/')) return callback(request, response);
  (own ? signals : interact)(request, response).catch((error) => {
    response.statusCode = 403;
    response.end(String(error.message));
  });
});
server.listen(settings.port, settings.address, () => console.log('ready'));
