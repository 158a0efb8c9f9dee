"""Settings of django-allauth: how people sign in. portal/settings.py takes them in."""

from portal.config import PortalConfig

ACCOUNT_ADAPTER = "portal.adapters.AccountAdapter"
ACCOUNT_LOGIN_METHODS = {"email"}
ACCOUNT_USER_MODEL_USERNAME_FIELD = None
ACCOUNT_SIGNUP_FIELDS = ["email*", "password1*", "password2*"]
ACCOUNT_EMAIL_VERIFICATION = "none"
ACCOUNT_LOGOUT_ON_GET = False
ACCOUNT_SESSION_REMEMBER = True
ACCOUNT_LOGOUT_ON_PASSWORD_CHANGE = False  # of this session; all others end
ACCOUNT_EMAIL_SUBJECT_PREFIX = "Basalt: "
# A mail whenever a password or a second factor was changed.
ACCOUNT_EMAIL_NOTIFICATIONS = True
ACCOUNT_RATE_LIMITS = {
    # tenants/services/sign_in_limits.py does this one, without locking the owner out.
    "login_failed": "",
    # So many at one moment, whoever they are for. Mails to one address: five a minute.
    "login": "60/m/ip",
    "reset_password": "20/m/ip,5/m/key",
}
# Asked again before a second factor is changed, where signing in was longer ago. Seconds.
ACCOUNT_REAUTHENTICATION_TIMEOUT = 300

MFA_ADAPTER = "portal.mfa.MfaAdapter"
MFA_FORMS = {
    "authenticate": "portal.mfa.AuthenticateForm",
    "reauthenticate": "portal.mfa.ReauthenticateForm",
    "add_webauthn": "portal.mfa.AddPasskeyForm",
    "authenticate_webauthn": "portal.mfa.AuthenticatePasskeyForm",
    "login_webauthn": "portal.mfa.LoginPasskeyForm",
    "reauthenticate_webauthn": "portal.mfa.ReauthenticatePasskeyForm",
}
# There is nothing to guess about a passkey; an office of people shares one address.
MFA_RATE_LIMITS = {"webauthn_login": "60/m/ip"}
MFA_SUPPORTED_TYPES = ["totp", "webauthn", "recovery_codes"]
MFA_PASSKEY_LOGIN_ENABLED = True
MFA_TOTP_ISSUER = "Basalt"
MFA_RECOVERY_CODES_SHOW_ONCE = True
# Accounts are made by invitation: nobody holds somebody else's address.
MFA_ALLOW_UNVERIFIED_EMAIL = True
# Browsers let passkeys work on plain HTTP for this machine alone, which is for development.
MFA_WEBAUTHN_ALLOW_INSECURE_ORIGIN = PortalConfig().origin.startswith("http://")

SOCIALACCOUNT_ADAPTER = "portal.providers.ProviderAdapter"
SOCIALACCOUNT_STORE_TOKENS = False
SOCIALACCOUNT_AUTO_SIGNUP = True
SOCIALACCOUNT_EMAIL_VERIFICATION = "none"
# Which account it is, is decided in portal/providers.py, and never by an address alone.
SOCIALACCOUNT_EMAIL_AUTHENTICATION = False
# The page that leads here was answered to a POST, and the way back checks the state.
SOCIALACCOUNT_LOGIN_ON_GET = True
SOCIALACCOUNT_REQUESTS_TIMEOUT = 10

USERSESSIONS_ADAPTER = "allauth.usersessions.adapter.DefaultUserSessionsAdapter"
