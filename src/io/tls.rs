//! TLS for health checks (rustls with ring): bytes in, bytes out, over a socket that somebody else has.
//!
//! Without a file of certificates any certificate is taken, but the handshake's signature is still verified: a server
//! whose key does not fit its certificate is broken.

use std::fmt;
use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::{CryptoProvider, KeyProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::sign::SigningKey;
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, RootCertStore, SignatureScheme};

/// How to speak TLS, made once for each kind of verification.
#[derive(Clone)]
pub struct TlsConfig(Arc<ClientConfig>);

impl fmt::Debug for TlsConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TlsConfig")
    }
}

impl TlsConfig {
    /// With a file of certificates, one of which must have signed the server's; an error is a sentence.
    pub fn new(verify: Option<&impl AsRef<Path>>) -> Result<TlsConfig, String> {
        let provider = Arc::new(provider());
        let verifier: Arc<dyn ServerCertVerifier> = match verify.map(AsRef::as_ref) {
            None => Arc::new(Any(provider.clone())),
            Some(path) => {
                let roots = Arc::new(roots(path)?);
                let verifier = WebPkiServerVerifier::builder_with_provider(roots, provider.clone()).build();
                verifier.map_err(|error| format!("{}: {error}", path.display()))?
            }
        };
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let builder = builder.map_err(|error| format!("TLS: {error}"))?.dangerous();
        let mut config = builder.with_custom_certificate_verifier(verifier).with_no_client_auth();
        // A probe is to do the whole handshake each time.
        config.resumption = Resumption::disabled();
        Ok(TlsConfig(Arc::new(config)))
    }

    /// A session with a server of this name; an address as name is not sent (RFC 6066 3).
    pub fn session(&self, name: &str) -> Result<TlsSession, String> {
        let server = ServerName::try_from(name.to_owned()).map_err(|_| format!("'{name}' is no name of a server"))?;
        let client = ClientConnection::new(self.0.clone(), server).map_err(|error| error.to_string())?;
        Ok(TlsSession(client))
    }
}

/// What any server of this decade takes. ChaCha20 is left out: a server of TLS 1.3 must have AES-128-GCM (RFC 8446 section
/// 9.1), and those of TLS 1.2 that lack it are not found. So is X25519: a server of TLS 1.3 must have P-256 (the same section), and
/// the rest of the program has no use for another curve.
fn provider() -> CryptoProvider {
    use ring::cipher_suite::{
        TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
        TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384, TLS13_AES_128_GCM_SHA256,
        TLS13_AES_256_GCM_SHA384,
    };
    use ring::kx_group::{SECP256R1, SECP384R1};

    let cipher_suites = vec![
        TLS13_AES_256_GCM_SHA384,
        TLS13_AES_128_GCM_SHA256,
        TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
        TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
        TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
        TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
    ];
    let kx_groups = vec![SECP256R1, SECP384R1];
    CryptoProvider { cipher_suites, kx_groups, key_provider: &NoKeys, ..ring::default_provider() }
}

/// Probes have no certificate of their own, and so no key.
#[derive(Debug)]
struct NoKeys;

impl KeyProvider for NoKeys {
    fn load_private_key(&self, _: PrivateKeyDer<'static>) -> Result<Arc<dyn SigningKey>, rustls::Error> {
        Err(rustls::Error::General("a probe has no key".into()))
    }
}

fn roots(path: &Path) -> Result<RootCertStore, String> {
    let mut store = RootCertStore::empty();
    let name = path.display();
    let text = super::read_to_string(path).map_err(|error| format!("{name}: {error}"))?;
    for certificate in CertificateDer::pem_slice_iter(text.as_bytes()) {
        let certificate = certificate.map_err(|error| format!("{name}: {error}"))?;
        store.add(certificate).map_err(|error| format!("{name}: {error}"))?;
    }
    if store.is_empty() { Err(format!("{name}: no certificate in it; give a file in PEM format")) } else { Ok(store) }
}

/// One session.
#[derive(Debug)]
pub struct TlsSession(ClientConnection);

impl TlsSession {
    /// True while the handshake goes on.
    pub fn is_handshaking(&self) -> bool {
        self.0.is_handshaking()
    }

    /// Takes bytes of the server; what they say is appended to `plain`. An error is what is wrong with them.
    pub fn receive(&mut self, mut bytes: &[u8], plain: &mut Vec<u8>) -> Result<(), String> {
        while !bytes.is_empty() {
            self.0.read_tls(&mut bytes).map_err(|error| error.to_string())?;
            let state = self.0.process_new_packets().map_err(|error| error.to_string())?;
            let ready = state.plaintext_bytes_to_read();
            let begin = plain.len();
            plain.resize(begin + ready, 0);
            self.0.reader().read_exact(&mut plain[begin..]).map_err(|error| error.to_string())?;
        }
        Ok(())
    }

    /// Says something to the server.
    pub fn say(&mut self, plain: &[u8]) -> io::Result<()> {
        self.0.writer().write_all(plain)
    }

    /// Appends what must be sent.
    pub fn send_into(&mut self, output: &mut Vec<u8>) -> io::Result<()> {
        while self.0.wants_write() {
            self.0.write_tls(output)?;
        }
        Ok(())
    }
}

/// Takes any certificate.
#[derive(Debug)]
struct Any(Arc<CryptoProvider>);

impl ServerCertVerifier for Any {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
