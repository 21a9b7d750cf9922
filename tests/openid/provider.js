// A real provider of OpenID Connect (the certified oidc-provider) with made-up people: node provider.js PORT REDIRECT_URI OUT_URI.
// Whoever logs in is who they say they are; their groups are those after the name, as in "kim:radiologists,it".
import { Provider } from 'oidc-provider';

const [port, redirect, out] = process.argv.slice(2);
const issuer = `http://127.0.0.1:${port}`;

const provider = new Provider(issuer, {
  clients: [{
    client_id: 'pneumoscope',
    client_secret: 'a secret that both know',
    redirect_uris: [redirect],
    post_logout_redirect_uris: [out],
    response_types: ['code'],
    grant_types: ['authorization_code'],
  }],
  claims: { openid: ['sub'], profile: ['name', 'preferred_username', 'groups'] },
  pkce: { required: () => true },
  cookies: { keys: ['a key for tests'] },
  findAccount: (_, id) => ({
    accountId: id,
    claims: () => {
      const [name, groups = ''] = id.split(':');
      return { sub: id, name: `${name} of the provider`, preferred_username: name, groups: groups.split(',') };
    },
  }),
});
provider.listen(Number(port), '127.0.0.1', () => console.log('ready'));
