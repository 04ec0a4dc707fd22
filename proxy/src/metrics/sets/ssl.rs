//! Statistics of TLS, of a listener or a cluster alike (Envoy: `listeners/stats#tls-statistics`).
//!
//! Which cipher suites, groups and signature algorithms there are is a closed set: those of our cryptography.

stat_set! {
    /// `listener.<address>.ssl.…` and `cluster.<name>.ssl.…`; the scope's name is what stands before `ssl.`
    pub enum SslStat at "" {
        counter Handshake = "ssl.handshake",
        counter SessionReused = "ssl.session_reused",
        counter NoCertificate = "ssl.no_certificate",
        counter VersionTls13 = "ssl.versions.TLSv1.3" [when_used],
        counter CipherAes128Gcm = "ssl.ciphers.TLS_AES_128_GCM_SHA256" [when_used],
        counter CurveX25519MlKem768 = "ssl.curves.X25519MLKEM768" [when_used],
        counter CurveX25519 = "ssl.curves.X25519" [when_used],
        counter SigalgEcdsaP256 = "ssl.sigalgs.ecdsa_secp256r1_sha256" [when_used],
        counter ConnectionError = "ssl.connection_error",
        counter FailVerifyCertHash = "ssl.fail_verify_cert_hash",
        counter FailVerifyError = "ssl.fail_verify_error",
        counter FailVerifyNoCert = "ssl.fail_verify_no_cert",
        counter FailVerifySan = "ssl.fail_verify_san",
        counter OcspStapleFailed = "ssl.ocsp_staple_failed",
        counter OcspStapleOmitted = "ssl.ocsp_staple_omitted",
        counter OcspStapleRequests = "ssl.ocsp_staple_requests",
        counter OcspStapleResponses = "ssl.ocsp_staple_responses",
        counter VersionTls12 = "ssl.versions.TLSv1.2" [when_used],
        counter CipherAes256Gcm = "ssl.ciphers.TLS_AES_256_GCM_SHA384" [when_used],
        counter CipherChaCha20 = "ssl.ciphers.TLS_CHACHA20_POLY1305_SHA256" [when_used],
        counter CipherEcdsaAes128Gcm = "ssl.ciphers.ECDHE-ECDSA-AES128-GCM-SHA256" [when_used],
        counter CipherEcdsaAes256Gcm = "ssl.ciphers.ECDHE-ECDSA-AES256-GCM-SHA384" [when_used],
        counter CipherEcdsaChaCha20 = "ssl.ciphers.ECDHE-ECDSA-CHACHA20-POLY1305" [when_used],
        counter CipherRsaAes128Gcm = "ssl.ciphers.ECDHE-RSA-AES128-GCM-SHA256" [when_used],
        counter CipherRsaAes256Gcm = "ssl.ciphers.ECDHE-RSA-AES256-GCM-SHA384" [when_used],
        counter CipherRsaChaCha20 = "ssl.ciphers.ECDHE-RSA-CHACHA20-POLY1305" [when_used],
        counter CurveP256 = "ssl.curves.P-256" [when_used],
        counter CurveP384 = "ssl.curves.P-384" [when_used],
        counter CurveP521 = "ssl.curves.P-521" [when_used],
        counter SigalgEcdsaP384 = "ssl.sigalgs.ecdsa_secp384r1_sha384" [when_used],
        counter SigalgEcdsaP521 = "ssl.sigalgs.ecdsa_secp521r1_sha512" [when_used],
        counter SigalgEd25519 = "ssl.sigalgs.ed25519" [when_used],
        counter SigalgRsaPssSha256 = "ssl.sigalgs.rsa_pss_rsae_sha256" [when_used],
        counter SigalgRsaPssSha384 = "ssl.sigalgs.rsa_pss_rsae_sha384" [when_used],
        counter SigalgRsaPssSha512 = "ssl.sigalgs.rsa_pss_rsae_sha512" [when_used],
        counter SigalgRsaPkcs1Sha256 = "ssl.sigalgs.rsa_pkcs1_sha256" [when_used],
        counter SigalgRsaPkcs1Sha384 = "ssl.sigalgs.rsa_pkcs1_sha384" [when_used],
        counter SigalgRsaPkcs1Sha512 = "ssl.sigalgs.rsa_pkcs1_sha512" [when_used],
    }
}

stat_set! {
    /// `listener.<address>.server_ssl_socket_factory.…` and `cluster.<name>.client_ssl_socket_factory.…`; the scope's
    /// name is all of what stands before the last part.
    pub enum SslFactoryStat at "" {
        counter DownstreamContextSecretsNotReady = "downstream_context_secrets_not_ready",
        counter UpstreamContextSecretsNotReady = "upstream_context_secrets_not_ready",
        counter SslContextUpdateBySds = "ssl_context_update_by_sds",
    }
}
