"""The wire: sessions and transactions with the next hop. All aiosmtplib is here."""
