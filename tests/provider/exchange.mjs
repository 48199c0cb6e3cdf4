// Token exchange at the provider itself (RFC 8693): an agent, as a client with a secret, brings a human's access token and
// a proof of a key (RFC 9449), and gets a delegation: a JWT that names both and is bound to that key.
import { errors } from 'oidc-provider';
import validateDpop from './node_modules/oidc-provider/lib/helpers/validate_dpop.js';

export const EXCHANGE = 'urn:ietf:params:oauth:grant-type:token-exchange';

const ACCESS_TOKEN = 'urn:ietf:params:oauth:token-type:access_token';
const { InvalidGrant, InvalidRequest, InvalidTarget } = errors;

// What delegations say beside what every access token says.
const said = new WeakMap();

export const extraTokenClaims = (ctx, token) => said.get(token);

// Clients of agents can do this and nothing else.
export function agentClient({ id, secret }, algorithm) {
  return {
    client_id: id,
    client_secret: secret,
    token_endpoint_auth_method: 'client_secret_basic',
    redirect_uris: [],
    response_types: [],
    id_token_signed_response_alg: algorithm,
    grant_types: [EXCHANGE],
  };
}

// The human's token, and the sign-in that it is from.
async function signIn(provider, value) {
  const token = await provider.AccessToken.find(value);
  const session = token?.sessionUid && (await provider.Session.findByUid(token.sessionUid));
  if (!token?.isValid || !session || session.accountId !== token.accountId) throw new InvalidGrant('no living sign-in');
  return { token, session };
}

export function delegates(provider, { audience, algorithm, seconds, users }) {
  const resourceServer = { audience, accessTokenFormat: 'jwt', accessTokenTTL: seconds, jwt: { sign: { alg: algorithm } } };
  const handler = async (ctx) => {
    const { params, client } = ctx.oidc;
    if (params.subject_token_type !== ACCESS_TOKEN) throw new InvalidRequest('subject_token_type');
    if (params.audience !== audience) throw new InvalidTarget('audience');
    const proof = await validateDpop(provider, ctx);
    if (!proof) throw new InvalidRequest('a delegation is bound to a key: a proof is needed');
    const { token, session } = await signIn(provider, params.subject_token);
    const user = users.get(token.accountId);
    const delegation = new provider.AccessToken({
      client,
      accountId: token.accountId,
      grantId: token.grantId,
      sessionUid: token.sessionUid,
      gty: 'token_exchange',
    });
    said.set(delegation, {
      act: { sub: client.clientId },
      auth_time: session.authTime(),
      amr: session.amr,
      acr: session.acr,
      email: user.email,
      email_verified: user.email_verified ?? true,
      groups: user.groups,
    });
    delegation.resourceServer = new provider.ResourceServer(audience, resourceServer);
    delegation.aud = audience;
    delegation.setThumbprint('jkt', proof.thumbprint);
    const value = await delegation.save();
    ctx.body = {
      access_token: value,
      issued_token_type: ACCESS_TOKEN,
      token_type: 'DPoP',
      expires_in: delegation.expiration,
    };
  };
  provider.registerGrantType(EXCHANGE, handler, ['subject_token', 'subject_token_type', 'audience']);
}
